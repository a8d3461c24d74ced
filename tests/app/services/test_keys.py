"""Does a key open what it should, for as long as it should, and leave no trace of its secret?"""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.clock import utc_now
from app.db.session import Database
from app.domain.access import Principal, Scope
from app.errors import BadRequest, InsufficientScope, NotFound, Unauthenticated
from app.services import keys
from app.services.keys import NewKey


def create(db: Database, tenant: str = "desk", **fields) -> NewKey:
    return keys.create(db, tenant=tenant, **{"name": "a key", "scopes": set(Scope), **fields})


def test_a_key_speaks_for_its_tenant_with_its_scopes(db):
    key = create(db, scopes=[Scope.JOBS_READ])

    assert keys.authenticate(db, key.secret) == Principal(
        key_id=key.id, tenant="desk", scopes=frozenset({Scope.JOBS_READ})
    )


def test_a_secret_has_256_random_bits_and_is_known_by_its_prefix(db):
    secrets = {create(db).secret for _ in range(3)}

    assert len(secrets) == 3
    assert all(re.fullmatch(r"dv_[A-Za-z0-9_-]{43}", s) for s in secrets)


def test_neither_the_database_nor_a_log_line_holds_a_secret(db):
    key = create(db)
    with db.reading() as session:
        stored = str(session.execute(text("SELECT * FROM api_keys")).all())

    assert key.secret not in stored
    assert key.secret[3:] not in stored
    assert key.secret not in repr(key)


@pytest.mark.parametrize(
    "secret", ["", "dv_", "dv_" + "A" * 43, "a\0b", "\ud800", "x" * 100_000, "Bearer dv_x"]
)
def test_what_is_no_key_is_refused(db, secret):
    create(db)

    with pytest.raises(Unauthenticated):
        keys.authenticate(db, secret)


def test_a_revoked_key_an_expired_one_and_an_unknown_one_are_refused_alike(db):
    revoked = create(db)
    keys.revoke(db, revoked.id)
    expired = create(db, expires_at=utc_now() - timedelta(seconds=1))
    words = set()
    for secret in (revoked.secret, expired.secret, "dv_unknown"):
        with pytest.raises(Unauthenticated) as refused:
            keys.authenticate(db, secret)
        words.add(str(refused.value))

    assert len(words) == 1


def test_a_key_is_good_until_it_expires(db):
    key = create(db, expires_at=utc_now() + timedelta(days=1))

    assert keys.authenticate(db, key.secret).key_id == key.id


def test_revoking_takes_one_key_and_no_other(db):
    gone, kept = create(db), create(db)
    keys.revoke(db, gone.id)
    keys.revoke(db, gone.id)

    assert keys.authenticate(db, kept.secret).key_id == kept.id
    with pytest.raises(NotFound):
        keys.revoke(db, "unknown")


def test_a_revoked_key_keeps_the_moment_it_was_first_revoked(db):
    key = create(db)
    keys.revoke(db, key.id)
    (before,) = keys.list_keys(db)
    keys.revoke(db, key.id)

    assert keys.list_keys(db) == (before,)


def test_keys_are_listed_by_tenant_without_their_secrets(db):
    first, second, other = create(db), create(db, name="second"), create(db, "archive")

    assert [k.id for k in keys.list_keys(db)] == [other.id, first.id, second.id]
    listed = keys.list_keys(db, "desk")
    assert [(k.id, k.name, k.revoked_at) for k in listed] == [
        (first.id, "a key", None),
        (second.id, "second", None),
    ]


def test_a_scope_that_a_key_lacks_is_named(db):
    reader = keys.authenticate(db, create(db, scopes=[Scope.JOBS_READ]).secret)
    keys.require(reader, Scope.JOBS_READ)

    with pytest.raises(InsufficientScope, match="jobs:write"):
        keys.require(reader, Scope.JOBS_WRITE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": ""},
        {"tenant": "x" * 65},
        {"tenant": "a b"},
        {"tenant": "a\0"},
        {"name": "x" * 129},
        {"name": "a\0b"},
        {"scopes": []},
    ],
)
def test_a_key_that_could_not_be_stored_or_would_open_nothing_is_refused(db, wrong):
    with pytest.raises(BadRequest):
        create(db, **wrong)
    assert keys.list_keys(db) == ()
