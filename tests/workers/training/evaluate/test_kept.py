from workers.training.evaluate.kept import kept


def test_an_answer_is_worked_out_once_and_anew_when_what_it_depends_on_changes(tmp_path):
    asked = []

    def make():
        asked.append(1)
        return {"a": float(len(asked))}

    first = kept(tmp_path, "the question?", ["data 1"], make)

    assert kept(tmp_path, "the question?", ["data 1"], make) == first == {"a": 1.0}
    assert kept(tmp_path, "the question?", ["data 2"], make) == {"a": 2.0}
    assert kept(tmp_path, "another", ["data 1"], make) == {"a": 3.0}
