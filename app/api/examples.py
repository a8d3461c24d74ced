"""What does an answer look like? Examples for the OpenAPI document; tests hold them to the code."""

JOB_ID = "01KDEEPVERD1CT000000000001"
SHA256 = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

QUEUED: dict[str, object] = {
    "id": JOB_ID,
    "state": "queued",
    "ref_id": "desk-4711",
    "priority": "live",
    "created_at": "2026-11-21T09:00:00Z",
    "progress": {"stage": "queued", "fraction": 0.0},
    "persons": [],
    "updated_at": "2026-11-21T09:00:00Z",
    "attempt": 0,
    "sha256": SHA256,
    "size_bytes": 3888107,
}

REJECTED: dict[str, object] = {
    **QUEUED,
    "state": "rejected",
    "finished_at": "2026-11-21T09:00:02Z",
    "progress": {"stage": "done", "fraction": 1.0},
    "error": {
        "code": "no-video-stream",
        "detail": "The file holds sound and no picture.",
        "actor": "client",
    },
    "updated_at": "2026-11-21T09:00:02Z",
    "attempt": 1,
}

SUCCEEDED: dict[str, object] = {
    **QUEUED,
    "state": "succeeded",
    "finished_at": "2026-11-21T09:00:02Z",
    "progress": {"stage": "done", "fraction": 1.0},
    "verdict": {
        "label": "manipulated",
        "fake_probability": 0.94,
        "interval": {"low": 0.83, "high": 0.98},
        "operating_point": "fpr_5",
        "reasons": ["person p1: 0.94"],
        "statement": "Strong signs that the face of one person was manipulated, from 0:03 to 0:11.",
        "caveat": "The networks asked here were not calibrated: their probabilities order clips "
        "and are no frequencies.",
        "policy": "2026-11-21.1",
    },
    "persons": [
        {
            "id": "p1",
            "first_s": 3.0,
            "last_s": 11.2,
            "frames": 241,
            "median_face_px": 212.5,
            "fake_probability": 0.94,
            "interval": {"low": 0.83, "high": 0.98},
            "best_crop": f"/v1/jobs/{JOB_ID}/crops/p1",
            "evidence": [
                {
                    "detector": "frame_classifier",
                    "finding": {"fake_probability": 0.94, "frames": 16, "is_calibrated": False},
                    "model": "frame_classifier@1.0",
                },
                {
                    "detector": "blink_rate",
                    "abstention": {
                        "reason": "track_too_short",
                        "detail": "8.2 s of track",
                        "needs": "30 s of track at 20 fps or more",
                    },
                },
            ],
        }
    ],
    "video": {
        "sha256": SHA256,
        "size_bytes": 3888107,
        "container": "mov,mp4",
        "codec": "h264",
        "width": 1920,
        "height": 1080,
        "rotation_deg": 0,
        "duration_s": 11.4,
        "fps": 29.97,
        "frames_expected": 342,
        "frames_decoded": 342,
        "frames_kept": 342,
        "warnings": [],
    },
    "provenance": {
        "code": "0.1.0+9f1a722",
        "models": {"frame_classifier": f"sha256:{SHA256}"},
        "decoder": "FFmpeg 7.1",
        "device": "cpu",
        "seed": 0,
        "frame_indices": "every 1st of 342",
        "sandbox": "no network, no files, 2 GiB",
        "versions": {"frame_classifier": "1.0"},
    },
    "timings": {"decode_s": 0.6, "faces_s": 0.9, "frame_classifier_s": 0.2, "total_s": 2.1},
    "updated_at": "2026-11-21T09:00:02Z",
    "attempt": 1,
}

JOB_LIST: dict[str, object] = {
    "items": [
        {
            "id": JOB_ID,
            "state": "succeeded",
            "ref_id": "desk-4711",
            "priority": "live",
            "created_at": "2026-11-21T09:00:00Z",
            "finished_at": "2026-11-21T09:00:02Z",
            "progress": {"stage": "done", "fraction": 1.0},
            "label": "manipulated",
            "fake_probability": 0.94,
            "link": f"/v1/jobs/{JOB_ID}",
        }
    ],
    "next_cursor": JOB_ID,
}

PERSONS: dict[str, object] = {"state": "succeeded", "persons": SUCCEEDED["persons"]}

REPORT: dict[str, object] = {
    "language": "en",
    "title": "Report on the faces in a video",
    "heading": "interview.mp4",
    "about": ["Analysis of 21 November 2026, 09:00 UTC", f"Job {JOB_ID}"],
    "made_at": "2026-11-21T09:00:02Z",
    "label": "manipulated",
    "label_words": "Signs of manipulation",
    "meaning": "At least one face shows strong signs of manipulation. That says nothing of the "
    "words spoken, nor of the scene.",
    "quote": {
        "statement": "Strong signs that the face of one person was manipulated, from 0:03 to 0:11.",
        "caveat": "The networks asked here were not calibrated: their probabilities order clips "
        "and are no frequencies.",
        "language": "en",
    },
    "fake_probability": 0.94,
    "probability": "0.94 on a scale from 0 (no sign) to 1 (certain), of the most suspect person; "
    "with 95 percent confidence between 0.83 and 0.98",
    "operating_point": ["Set so that about 5 of 100 real clips are called manipulated."],
    "policy": "2026-11-21.1",
    "persons": [
        {
            "id": "p1",
            "name": "Person p1",
            "first_s": 3.0,
            "last_s": 11.2,
            "seen": "Seen from 0:03.0 to 0:11.2, in 241 frames; the face is about 212 pixels wide.",
            "fake_probability": 0.94,
            "probability": "0.94 of 1, with 95 percent confidence between 0.83 and 0.98",
            "is_most_suspect": False,
            "findings": [
                {
                    "detector": "frame_classifier",
                    "name": "Classifier of single frames",
                    "question": "Does a network see a manipulated face in single frames?",
                    "values": ["Probability 0.94"],
                    "comparison": "\N{EN DASH}",
                    "rests_on": "16 frames: all that was seen of the person",
                    "frame_indices": [126],
                    "is_decisive": True,
                    "role": "counts",
                    "caveat": "A network is wrong at times; how often was measured, and stands in "
                    "the caveat of the verdict.",
                    "model": "frame_classifier@1.0",
                }
            ],
            "abstentions": [
                {
                    "detector": "blink_rate",
                    "name": "Blinking",
                    "reason": "the face was not followed for long enough",
                    "detail": "8.2 s of track",
                    "needs": "30 s of track at 20 fps or more",
                }
            ],
            "points": [
                {"pts_s": 4.204, "frame_index": 126, "fake_probability": 0.93, "fake_area": 0.41}
            ],
            "in_time": "Person p1: seen from 0:03.0 to 0:11.2. Frames judged: 1, from 0.93 to "
            "0.93, the highest at 0:04.2. Frames with marked pixels: 1.",
        }
    ],
    "frames": [
        {
            "letter": "A",
            "picture": {
                "id": "p1-frame-000126",
                "kind": "frame",
                "person_id": "p1",
                "pts_s": 4.204,
                "frame_index": 126,
                "width_px": 983,
                "height_px": 256,
                "sha256": SHA256,
                "alt": "The frame at 0:04.2 with a box around the face of Person p1, and the face "
                "enlarged, without and with the marked pixels, which are 41 % of it.",
                "caption": "A. Person p1 at 0:04.2, frame 126. 41 % of the picture of the face is "
                "marked.",
                "link": f"/v1/jobs/{JOB_ID}/frames/p1-frame-000126",
            },
        }
    ],
    "file": [{"name": "SHA-256", "value": SHA256}],
    "warnings": [],
    "origin": {
        "about": "Stated beside the verdict and never part of it.",
        "credentials": [{"name": "Content Credentials (C2PA)", "value": "none in the file"}],
        "tags": [{"name": "encoder", "value": "Lavf61.1.100"}],
        "signs": ["names a program that videos are encoded anew with"],
    },
    "checking": [{"name": "Seed", "value": "0"}],
    "commands": ["sha256sum VIDEO", "deepverdict scan VIDEO --report report.html"],
    "verdict": SUCCEEDED["verdict"],
    "video": SUCCEEDED["video"],
    "provenance": SUCCEEDED["provenance"],
    "evidence": SUCCEEDED["persons"],
}

TIMELINE: dict[str, object] = {
    "state": "succeeded",
    "points": [
        {
            "person_id": "p1",
            "pts_s": 4.204,
            "frame_index": 126,
            "fake_probability": 0.93,
            "fake_area": 0.41,
            "mask": f"/v1/jobs/{JOB_ID}/masks/p1-000126",
            "attention": f"/v1/jobs/{JOB_ID}/attention/p1-attention-000126",
        }
    ],
}

POLICY: dict[str, object] = {
    "version": "2026-12-01.1",
    "made": {
        "evidence_sha256": SHA256,
        "manifest_sha256": SHA256,
        "code": "0.1.0+9f1a722",
        "clips": 250,
        "groups": 88,
    },
    "required": ["frame_classifier"],
    "min_frames": 25,
    "operating_points": [
        {
            "name": "fpr_5",
            "is_default": True,
            "manipulated_from": 0.734,
            "clear_below": 0.356,
            "real_clips": 96,
            "false_positives": 4,
            "false_positives_at_most": 0.1033,
            "fake_clips": 154,
            "found": 31,
            "cleared_fakes": 15,
            "by_family": [{"family": "face_swap", "clips": 70, "found": 21}],
        }
    ],
    "cues": [
        {
            "feature": "frame_classifier",
            "detector": "frame_classifier",
            "decides": True,
            "weight": 0.91,
            "auc": {"value": 0.81, "low": 0.74, "high": 0.87},
            "gain": {"value": 0.19, "low": 0.11, "high": 0.27},
            "real_clips": 96,
            "fake_clips": 154,
            "abstained_real": 2,
            "abstained_fake": 5,
        },
        {
            "feature": "pulse",
            "detector": "pulse",
            "decides": False,
            "weight": 0.0,
            "auc": {"value": 0.53, "low": 0.44, "high": 0.61},
            "gain": {"value": 0.001, "low": -0.01, "high": 0.012},
            "real_clips": 96,
            "fake_clips": 154,
            "abstained_real": 40,
            "abstained_fake": 71,
        },
    ],
    "coverage": "Replaced and re-enacted faces are what was trained for: faces that a generator "
    "made whole, and pictures set in motion, are not covered.",
    "caveat": "On people whom the networks had never seen, 4 of 96 real clips were called "
    "manipulated at this threshold, and 31 of 154 manipulated ones were found; 15 manipulated "
    "ones were taken for clear. Replaced and re-enacted faces are what was trained for: faces "
    "that a generator made whole, and pictures set in motion, are not covered.",
}

RERUN_ID = "01KDEEPVERD1CT000000000009"
OTHER_JOB_ID = "01KDEEPVERD1CT000000000002"
RERUN_JOB_ID = "01KDEEPVERD1CT00000000000A"

RERUN_OF_JOBS: dict[str, object] = {"job_ids": [JOB_ID, OTHER_JOB_ID]}
RERUN_OF_VERDICTS: dict[str, object] = {
    "since": "2026-11-01T00:00:00Z",
    "labels": ["no_manipulation_found", "inconclusive"],
    "limit": 200,
}

RERUN_QUEUED: dict[str, object] = {
    "id": RERUN_ID,
    "created_at": "2026-11-22T09:00:00Z",
    "is_done": False,
    "jobs": 1,
    "states": {"queued": 1},
    "changed": [],
    "unchanged": 0,
    "unavailable": [OTHER_JOB_ID],
    "left_out": 0,
}

RERUN_DONE: dict[str, object] = {
    **RERUN_QUEUED,
    "is_done": True,
    "states": {"succeeded": 1},
    "changed": [
        {
            "job_id": JOB_ID,
            "rerun_job_id": RERUN_JOB_ID,
            "link": f"/v1/jobs/{RERUN_JOB_ID}",
            "before": {
                "label": "manipulated",
                "fake_probability": 0.94,
                "models": {"frame_classifier": "1.0"},
                "policy": "2026-11-21.1",
            },
            "after": {
                "label": "inconclusive",
                "fake_probability": 0.61,
                "models": {"frame_classifier": "1.1"},
                "policy": "2026-11-21.1+frame_classifier@1.1",
            },
        }
    ],
}

MODELS: dict[str, object] = {
    "items": [
        {
            "name": "frame_classifier",
            "version": "1.1",
            "sha256": SHA256,
            "workers": 3,
            "is_wanted": True,
        }
    ]
}

TRAINING_RUN_ID = "01KDEEPVERD1CT000000000007"

TRAIN_FORGER: dict[str, object] = {
    "kind": "forger",
    "recipe": "forger_128",
    "overrides": {"run.steps": 20000, "losses.game": "hinge"},
    "data": {"a": ["anna-1.mp4", "anna-2.mp4"], "b": "ben"},
    "name": "Anna and Ben, 128 px",
}
TRAIN_CLASSIFIER: dict[str, object] = {
    "kind": "classifier",
    "data": {"manifest": "media-2026-11.csv"},
}

TRAINING_QUEUED: dict[str, object] = {
    "id": TRAINING_RUN_ID,
    "kind": "forger",
    "name": "Anna and Ben, 128 px",
    "state": "queued",
    "stage": "queued",
    "step": 0,
    "created_at": "2026-11-21T09:00:00Z",
    "recipe": "forger_128",
    "overrides": {"run.steps": 20000, "losses.game": "hinge"},
    "data": {"a": ["anna-1.mp4", "anna-2.mp4"], "b": ["ben"]},
    "updated_at": "2026-11-21T09:00:00Z",
    "attempt": 0,
    "seconds": 0.0,
    "checkpoints": [],
    "pictures": [],
}

TRAINING_RUNNING: dict[str, object] = {
    **TRAINING_QUEUED,
    "state": "running",
    "stage": "training",
    "step": 8420,
    "steps": 20000,
    "updated_at": "2026-11-21T11:20:09Z",
    "attempt": 1,
    "losses": {"loss": 0.214, "reconstruction": 0.031, "adversarial": 0.88},
    "seconds": 8409.2,
    "checkpoints": [{"step": 8391, "size_bytes": 231211008, "at": "2026-11-21T11:19:41Z"}],
    "pictures": [{"step": 8000, "url": f"/v1/training-runs/{TRAINING_RUN_ID}/pictures/8000"}],
}

TRAINING_REJECTED: dict[str, object] = {
    **TRAINING_QUEUED,
    "state": "rejected",
    "stage": "preparing",
    "finished_at": "2026-11-21T09:00:41Z",
    "updated_at": "2026-11-21T09:00:41Z",
    "attempt": 1,
    "seconds": 38.4,
    "error": {
        "code": "bad-dataset",
        "detail": "12 faces of b are fit to learn from; at least 64 are needed",
        "actor": "client",
    },
}

TRAINING_LIST: dict[str, object] = {
    "items": [
        {
            "id": TRAINING_RUN_ID,
            "kind": "forger",
            "name": "Anna and Ben, 128 px",
            "state": "running",
            "stage": "training",
            "step": 8420,
            "steps": 20000,
            "created_at": "2026-11-21T09:00:00Z",
            "link": f"/v1/training-runs/{TRAINING_RUN_ID}",
        }
    ],
}

TRAINING_METRICS: dict[str, object] = {
    "points": [
        {"step": 20, "metrics": {"loss": 0.61, "rate": 0.0002, "images_per_s": 41.2}},
        {"step": 40, "metrics": {"loss": 0.48, "rate": 0.0002, "images_per_s": 41.3}},
    ]
}

READINESS: dict[str, object] = {
    "status": "degraded",
    "checks": {
        "database": {"ok": True, "words": "answers"},
        "schema": {"ok": True, "words": "is current"},
        "disk": {"ok": True, "words": "78.1 GiB free, uploads are refused below 2.0 GiB"},
        "workers": {
            "ok": False,
            "words": "none was heard of for 60 s: videos are taken and wait; "
            "start one with `deepverdict worker`",
        },
    },
}

OVERLAY_WANTED: dict[str, object] = {"state": "queued"}
