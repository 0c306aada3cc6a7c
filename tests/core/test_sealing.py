"""Seeds at rest: nothing opens them but the key that sealed them, for the token they were sealed for."""

from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.sealing import VALUE_NAME, KeyProblem, Sealer, create_master_key, read_master_key

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
SEED = b"12345678901234567890"


@settings(deadline=None)
@given(st.binary(max_size=64), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_was_sealed_opens_again(seed: bytes, token_id: str) -> None:
    sealer = Sealer(KEY)
    assert sealer.unseal(sealer.seal(seed, token_id), token_id) == seed


def test_it_opens_in_the_next_process_too() -> None:
    assert Sealer(KEY).unseal(Sealer(KEY).seal(SEED, "VSMT00000001"), "VSMT00000001") == SEED


def test_a_seal_hides_the_seed_and_never_looks_the_same_twice() -> None:
    sealer = Sealer(KEY)
    seals = {sealer.seal(SEED, "VSMT00000001") for _ in range(100)}
    assert len(seals) == 100
    assert all(SEED not in one and len(one) == 1 + 12 + len(SEED) + 16 for one in seals)


def test_another_key_does_not_open_it() -> None:
    sealed = Sealer(KEY).seal(SEED, "VSMT00000001")
    with pytest.raises(KeyProblem, match="VSMT00000001 does not open"):
        Sealer(OTHER_KEY).unseal(sealed, "VSMT00000001")


def test_a_seed_copied_to_another_token_does_not_open() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(SEED, "VSMT00000001")
    with pytest.raises(KeyProblem):
        sealer.unseal(sealed, "VSMT00000002")


@settings(deadline=None)
@given(st.integers(8, 8 * 49 - 1))
def test_a_seal_of_which_one_bit_was_changed_does_not_open(bit: int) -> None:
    sealer = Sealer(KEY)
    sealed = bytearray(sealer.seal(SEED, "VSMT00000001"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(KeyProblem):
        sealer.unseal(bytes(sealed), "VSMT00000001")


@pytest.mark.parametrize("length", [0, 1, 12, 13, 20, 48])
def test_a_seal_that_was_cut_short_does_not_open(length: int) -> None:
    sealer = Sealer(KEY)
    with pytest.raises(KeyProblem):
        sealer.unseal(sealer.seal(SEED, "VSMT00000001")[:length], "VSMT00000001")


def test_a_key_check_tells_the_key_from_any_other() -> None:
    check = Sealer(KEY).key_check()
    assert Sealer(KEY).opens(check)
    assert not Sealer(OTHER_KEY).opens(check)
    assert not Sealer(KEY).opens(b"")
    assert not Sealer(KEY).opens(Sealer(KEY).seal(SEED, "VSMT00000001"))


# Marks: keyed fingerprints.


def test_a_fingerprint_is_the_same_for_the_same_parts_in_every_process() -> None:
    assert Sealer(KEY).fingerprint(b"gateway", b"taro") == Sealer(KEY).fingerprint(b"gateway", b"taro")


def test_fingerprints_in_stores_of_older_versions_are_still_recognised() -> None:
    sealer = Sealer(KEY)
    assert sealer.fingerprint(b"gateway", b"taro") == -3015814964554484669
    assert sealer.fingerprint(b"a" * 255, b"b" * 256, b"") == 4496742717044439428
    assert sealer.fingerprint() == -6790327810091960486


def test_a_fingerprint_depends_on_the_key() -> None:
    assert Sealer(KEY).fingerprint(b"123456") != Sealer(OTHER_KEY).fingerprint(b"123456")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_marks_tell_the_borders_between_parts_apart(one: list[bytes], other: list[bytes]) -> None:
    assert (Sealer(KEY).fingerprint(*one) == Sealer(KEY).fingerprint(*other)) == (one == other)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_a_fingerprint_fits_a_signed_column_and_is_never_none(part: bytes) -> None:
    fingerprint = Sealer(KEY).fingerprint(part)
    assert -(2**63) <= fingerprint < 2**63
    assert fingerprint != 0


def test_a_part_may_be_of_any_length() -> None:
    """What somebody typed may be a whole book: it is no code then, and no error either."""
    assert Sealer(KEY).fingerprint(b"1" * 70_000) != Sealer(KEY).fingerprint(b"1" * 70_001)


def test_a_sealer_shows_nothing_of_its_key() -> None:
    assert repr(Sealer(KEY)) == "Sealer(...)"


# The file of the master key.


def test_a_new_key_file_is_for_its_owner_alone_and_holds_32_bytes(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "master.key"
    assert create_master_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    assert read_master_key(file) == base64.b64decode(file.read_text())


def test_a_new_key_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_master_key(tmp_path / "master.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    assert create_master_key(file)
    text = file.read_text()
    assert not create_master_key(file)
    assert file.read_text() == text


def test_of_many_who_create_a_key_at_once_one_does(tmp_path: Path) -> None:
    file, wrote = tmp_path / "master.key", []
    threads = [threading.Thread(target=lambda: wrote.append(create_master_key(file))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wrote) == [False] * 7 + [True]


def test_no_two_keys_are_the_same(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(5)]
    assert all(create_master_key(file) for file in files)
    assert len({read_master_key(file) for file in files}) == 5


def test_a_key_that_cannot_be_written_is_a_problem_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file where a folder should be")
    with pytest.raises(KeyProblem, match=r"cannot write the master key file .*occupied/master\.key: "):
        create_master_key(tmp_path / "occupied" / "master.key")


def test_a_missing_key_file_says_to_restore_it(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match=r"no master key file .*restore it from your backup, or run `sekisho init`"):
        read_master_key(tmp_path / "master.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_a_key_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    file.chmod(mode)
    with pytest.raises(KeyProblem, match=r"can be read by others: run `chmod 600 "):
        read_master_key(file)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "master.key"
    create_master_key(file)
    file.chmod(mode)
    assert len(read_master_key(file)) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not Base64 at all!",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.b64encode(bytes(32)).decode()[:-1],
        base64.b64encode(bytes(32)).decode() * 2,
    ],
)
def test_a_damaged_key_file_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "master.key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(KeyProblem, match="is damaged: it must hold 32 bytes") as caught:
        read_master_key(file)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe" + bytes(30), "鍵".encode()])
def test_a_key_file_that_is_no_text_is_a_problem_too(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "master.key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(KeyProblem, match="cannot read the master key file"):
        read_master_key(file)


def test_a_folder_in_place_of_the_key_file_is_a_problem_too(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="cannot read the master key file"):
        read_master_key(tmp_path)


# Session data


def test_each_session_has_a_key_of_its_own() -> None:
    """So that no key ever seals 2^32 messages with random nonces (NIST SP 800-38D, section 8.3)."""
    sealer, one, other = Sealer(KEY), os.urandom(32), os.urandom(32)
    sealed = sealer.seal_data(b"data", one)
    assert sealer.unseal_data(sealed, one) == b"data"
    assert keystream(sealer, one) != keystream(sealer, other)
    for digest, reader in ((other, sealer), (one, Sealer(OTHER_KEY))):
        with pytest.raises(KeyProblem):
            reader.unseal_data(sealed, digest)


def keystream(sealer: Sealer, digest: bytes) -> bytes:
    """GCM's for the nonce of zeros: it tells whether two keys are one."""
    return sealer._session_cipher(digest).encrypt(bytes(12), bytes(16), None)[:16]


def test_session_data_of_before_opens_after_an_upgrade() -> None:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"sekisho session data v1").derive(KEY)
    digest, nonce = os.urandom(32), os.urandom(12)
    sealed = b"\x01" + nonce + AESGCM(key).encrypt(nonce, b"data", digest)
    assert Sealer(KEY).unseal_data(sealed, digest) == b"data"


def test_values_of_a_while_share_a_key_and_open_everywhere() -> None:
    """One million of them at most: random nonces are good for 2^32 (NIST SP 800-38D, section 8.3)."""
    sealer = Sealer(KEY)
    one, two = sealer.seal_value(b"one"), sealer.seal_value(b"two")
    assert one[:VALUE_NAME] == two[:VALUE_NAME]
    assert one[VALUE_NAME:] != two[VALUE_NAME:]
    sealer._name_left = 0
    three = sealer.seal_value(b"three")
    assert three[:VALUE_NAME] != one[:VALUE_NAME]
    for reader in (sealer, Sealer(KEY)):
        assert [reader.unseal_value(sealed) for sealed in (one, two, three)] == [b"one", b"two", b"three"]
    moved = three[:VALUE_NAME] + one[VALUE_NAME:]
    for reader, wrong in (
        (Sealer(OTHER_KEY), one),
        (sealer, moved),
        (sealer, three[:-1]),
        (sealer, b""),
        (sealer, b"x"),
    ):
        with pytest.raises(KeyProblem):
            reader.unseal_value(wrong)


@pytest.mark.parametrize("what", ["/dev/zero", "pipe"])
def test_a_master_key_that_is_no_file_is_refused_at_once(tmp_path: Path, what: str) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyProblem, match="it is no regular file"):
        read_master_key(tmp_path / what)
