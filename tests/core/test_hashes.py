"""Password hashes: published vectors, what is refused at import, and what never matches.

Vectors come from where each format does: phc-winner-argon2 (src/test.c), crypt_blowfish (wrapper.c), Drepper's
SHA-crypt.txt, RFC 6070, RFC 7914 section 11, Django's and passlib's test suites, yescrypt-go (yescrypt_test.go).
"""

from __future__ import annotations

import base64
import hashlib
import re
import resource
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.first_factor.hashes import (
    CannotHash,
    Cost,
    Scheme,
    UnknownHash,
    check,
    dummy_hash,
    hash_password,
    libcrypt,
    needs_rehash,
    recognise,
    validate,
)

CHEAP = Cost(memory_kib=8, time_cost=1)

ARGON2_VECTORS = [
    (b"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
    (b"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"),
    (b"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
    (b"password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"),
    (b"password", "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"),
    # argon2 -v 10 writes the version that test.c omits; argon2 -d; argon2 -id -l 16: Debian's argon2, 0~20171227.
    (b"password", "$argon2i$v=16$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"),
    (b"password", "$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$JcTui6RIBUtJ78gE5Hi52CO+H5vS6Z9R1uxAB6OhUB8"),
    (b"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$PKFfIHl4qyvYO0H22OU4CA"),
]

LETTERS_72 = (string.digits + string.ascii_lowercase + string.ascii_uppercase + string.digits).encode()
BCRYPT_OF_72 = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
BCRYPT_VECTORS = [
    (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (b"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    (b"", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    (b"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
    (b"\xff\xff\xa3", "$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
    (LETTERS_72, BCRYPT_OF_72),
]

DJANGO_VECTORS = [
    ("lètmein".encode(), "pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0="),
    ("lètmein".encode(), "pbkdf2_sha1$30000$seasalt2$pMzU1zNPcydf6wjnJFbiVKwgULc="),
]

PASSLIB_VECTORS = [
    (b"password", "$pbkdf2$1212$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI"),
    ("Ιωαννης".encode(), "$pbkdf2$1212$THDqatpidANpadlLeTeOEg$HV3oi1k5C5LQCgG1BMOL.BX4YZc"),
    (b"password", "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ"),
    (
        b"password",
        "$pbkdf2-sha512$1212$RHY0Fr3IDMSVO/RSZyb5ow$"
        "eNLfBK.eVozomMr.1gYa17k9B7KIK25NOEshvhrSX.esqY3s.FvWZViXz4KoLlQI.BzY/YTNJOiKc5gBYFYGww",
    ),
]

SHA256_CRYPT_VECTORS = [
    (b"Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    (b"Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    (b"a short string", "$5$rounds=123456$asaltof16chars..$gP3VQ/6X7UUEW3HkBn2w1/Ptq2jxPyzV/cZKmF/wJvD"),
    # openssl passwd -5 -salt Zi7hJq0eXk, OpenSSL 3.0.19
    ("ひらけごま".encode(), "$5$Zi7hJq0eXk$Wm2uZyV8kPjucFksqd6GPFQFpZoVxyXXO0JnlNZ5Et9"),
]

SHA512_CRYPT_VECTORS = [
    (
        b"Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        b"a very much longer text to encrypt.  This one even stretches over morethan one line.",
        "$6$rounds=1400$anotherlongsalts$"
        "POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
    ),
    # openssl passwd -6 -salt Zi7hJq0eXk, OpenSSL 3.0.19
    (
        b"sesame",
        "$6$Zi7hJq0eXk$5tnqoivryAVtXeMFnreCIKMfYwYTEMsyPxdphJmmBTrUhPacS9kGv48FqE4hlUNkJM87.zvza73tWemkQB5AO1",
    ),
]

YESCRYPT_VECTORS = [
    (b"test1", "$y$j75$z7ztFz2FayrKI79/jEwlL.$u5x/j193MQ09wbFaRGYr0AH/A/jh3kunjuhYRVRNkmC"),
    (b"test2", "$y$j85$uFLpki6/G99e8OAxVooij1$64Rji3LKk1v85LYVULHKh2YKeKoDu0ADrGt4l1JhQy8"),
    (b"test3", "$y$j7T$aoovSEloTaFiZVMrFisfy.$wLTAPbITTB/XIpAGwcX0xxRCFEcDgPWpXTsij0SEbC5"),
    (b"test5", "$y$j9T$fqIAg4Vpv9o1MKgWMnyax.$BxkUx27fLJlPOfyIfNEBPzjrDQ95LXKgN5OJii3GL7."),
]

VECTORS = [
    *((Scheme.ARGON2, *vector) for vector in ARGON2_VECTORS),
    *((Scheme.BCRYPT, *vector) for vector in BCRYPT_VECTORS),
    *((Scheme.DJANGO_PBKDF2, *vector) for vector in DJANGO_VECTORS),
    *((Scheme.PASSLIB_PBKDF2, *vector) for vector in PASSLIB_VECTORS),
    *((Scheme.SHA256_CRYPT, *vector) for vector in SHA256_CRYPT_VECTORS),
    *((Scheme.SHA512_CRYPT, *vector) for vector in SHA512_CRYPT_VECTORS),
    *((Scheme.YESCRYPT, *vector) for vector in YESCRYPT_VECTORS),
]

QUICK = [
    ARGON2_VECTORS[0],
    BCRYPT_VECTORS[0],
    (b"sesame", "pbkdf2_sha256$1$seasalt$n5THeN0DzpFGVQ2kQtmo9QQX9KK4GgdxOnQdYsYDFjs="),
    PASSLIB_VECTORS[2],
    SHA256_CRYPT_VECTORS[0],
    SHA512_CRYPT_VECTORS[1],
    YESCRYPT_VECTORS[0],
]
"""One hash of each scheme that takes a few milliseconds at most."""


def test_a_new_hash_opens_to_its_password_alone() -> None:
    encoded = hash_password(b"sesame", CHEAP)
    assert encoded.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert check(b"sesame", encoded)
    assert not check(b"Sesame", encoded)
    assert not check(b"", encoded)


def test_the_default_cost_is_owasps_minimum() -> None:
    assert hash_password(b"sesame", Cost()).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password(b"sesame", CHEAP) != hash_password(b"sesame", CHEAP)


def test_the_dummy_hash_costs_what_a_real_one_does_and_is_new_each_time() -> None:
    encoded = dummy_hash(CHEAP)
    assert not needs_rehash(encoded, CHEAP)
    assert not check(b"", encoded)
    assert encoded != dummy_hash(CHEAP)


@pytest.mark.parametrize(("scheme", "password", "encoded"), VECTORS)
def test_published_vectors(scheme: Scheme, password: bytes, encoded: str) -> None:
    validate(encoded)
    assert recognise(encoded) is scheme
    assert check(password, encoded)
    assert not check(password + b"x", encoded)


@pytest.mark.parametrize(
    ("algorithm", "password", "salt", "rounds", "derived"),
    [
        # RFC 6070
        ("sha1", b"password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
        ("sha1", b"password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
        # RFC 7914, section 11: the first 32 of its 64 bytes
        ("sha256", b"passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
        ("sha256", b"Password", "NaCl", 80000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
    ],
)
def test_rfc_vectors_written_as_django_writes_them(
    algorithm: str, password: bytes, salt: str, rounds: int, derived: str
) -> None:
    digest = base64.b64encode(bytes.fromhex(derived)).decode()
    assert check(password, f"pbkdf2_{algorithm}${rounds}${salt}${digest}")


def test_django_with_sha512() -> None:
    digest = base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"sesame", b"seasalt", 1000)).decode()
    assert check(b"sesame", f"pbkdf2_sha512$1000$seasalt${digest}")


def test_only_argon2id_of_todays_cost_needs_no_rehash() -> None:
    today = Cost(memory_kib=16, time_cost=2)
    assert not needs_rehash(hash_password(b"sesame", today), today)
    assert needs_rehash(hash_password(b"sesame", Cost(memory_kib=16, time_cost=1)), today)
    assert needs_rehash(hash_password(b"sesame", Cost(memory_kib=24, time_cost=2)), today)
    assert needs_rehash(hash_password(b"sesame", Cost(memory_kib=16, time_cost=2, parallelism=2)), today)
    assert needs_rehash("$argon2id$v=16$m=16,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", today)
    assert all(needs_rehash(encoded, today) for _, _, encoded in VECTORS)
    assert needs_rehash("no hash at all", today)


def test_bcrypt_never_matches_what_it_cannot_see() -> None:
    assert check(LETTERS_72, BCRYPT_OF_72)
    assert not check(LETTERS_72 + b"chars after 72 are ignored", BCRYPT_OF_72)


def test_a_long_password_is_no_trouble_where_the_format_sees_all_of_it() -> None:
    long = b"correct horse battery staple " * 100
    assert check(long, hash_password(long, CHEAP))
    assert not check(long + b".", hash_password(long, CHEAP))


def test_libcrypt_sees_511_bytes_and_a_longer_password_never_matches() -> None:
    # mkpasswd -m sha-512 -R 1000 -S saltstring, whois 5.5.17
    of_511 = (
        "$6$rounds=1000$saltstring$"
        "gT992ZChsd3okCvl06E6mFsqVXAdRBsgsTQsyPLBeiMaRSsJBsQ7Wwvud6QHbc2NvUUo2/1ztPmmVSlWWTwjy1"
    )
    assert check(b"a" * 511, of_511)
    assert not check(b"a" * 512, of_511)


@pytest.mark.parametrize(("password", "encoded"), QUICK)
def test_a_nul_never_ends_a_password(password: bytes, encoded: str) -> None:
    assert check(password, encoded)
    assert not check(password + b"\0", encoded)
    assert not check(password + b"\0anything", encoded)
    assert not check(b"\0" + password, encoded)
    assert not check(b"\0", encoded)


def test_a_password_that_cannot_match_takes_as_long_as_one_that_can() -> None:
    bcrypt = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    assert min(_seconds(b"x" * 73, bcrypt), _seconds(b"x\0", bcrypt)) > _seconds(b"x", bcrypt) / 4


def test_bcrypt_salts_with_spare_bits_set_match_all_the_same() -> None:
    # The 22nd letter of the salt holds 2 bits; some libraries fill the other 4.
    assert check(b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCCCE5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")


B64_32 = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
C64_43 = "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "sesame",
        "$",
        "*",
        "!$6$saltstring$",
        "{CRYPT}$6$saltstring$x",
        "$1$saltstri$YMyguxXMBpd2TEZ.vS/3q1",  # md5-crypt
        "$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",  # bcrypt with the sign extension bug
        "5f4dcc3b5aa765d61d8327deb882cf99",  # bare MD5
        # argon2
        "$argon2id$",
        f"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ${B64_32[:-1]}",
        f"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ${B64_32[:-1]}5",
        f"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ${B64_32[:21]}",
        f"$argon2id$v=19$m=256,t=2,p=1$c29tZQ${B64_32}",
        f"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHR${B64_32}",
        f"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQaa${B64_32}\n",
        f"$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ${B64_32}",
        f"$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ${B64_32}",
        f"$argon2id$v=19$m=0256,t=2,p=1$c29tZXNhbHQ${B64_32}",
        f"$argon2id$v=19$m=２５６,t=2,p=1$c29tZXNhbHQ${B64_32}",
        f"$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ${B64_32}",
        f"$argon2id$v=19$m=15,t=2,p=2$c29tZXNhbHQ${B64_32}",
        f"$argon2x$v=19$m=256,t=2,p=1$c29tZXNhbHQ${B64_32}",
        # bcrypt
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeX",
        "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        # PBKDF2
        "pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9",
        "pbkdf2_sha256$20000$$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
        "pbkdf2_sha256$0$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
        "pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r1=",
        "pbkdf2_sha1$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
        "pbkdf2_md5$20000$seasalt$oBSd886ysm3AqYun62DOdg==",
        "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg+fJPeq1h/gXXY7acBp9/6c+tmQ",
        "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0V$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ",
        "$pbkdf2$01212$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI",
        # crypt
        "$5$saltstring$",
        f"$5$saltstring${C64_43[:-1]}",
        f"$5$saltstring${C64_43[:-1]}z",
        f"$5$saltstringsaltstr${C64_43}",
        f"$5$${C64_43}",
        f"$5$salt:ring${C64_43}",
        f"$5$salt ring${C64_43}",
        f"$5$saltstrin\u0261${C64_43}",
        f"$5$rounds=999$saltstring${C64_43}",
        f"$5$rounds=01000$saltstring${C64_43}",
        f"$5$rounds=$saltstring${C64_43}",
        f"$5$rounds=1000${C64_43}",
        f"$6$saltstring${C64_43}",
        f"$y$j9T$${C64_43}",
        f"$y$j9T$a${C64_43}",
        f"$y$j9T$az${C64_43}",
        f"$y$jGT$fqIAg4Vpv9o1MKgWMnyax.${C64_43}",  # 2 GiB
        f"$y$jD5.7$LdJMENpBABJJ3hIHjB1Bi.${C64_43}",  # settings that crypt_gensalt never writes
    ],
)
def test_malformed_and_foreign_hashes_are_refused_at_import(encoded: str) -> None:
    with pytest.raises(UnknownHash, match="Accepted: "):
        validate(encoded)
    with pytest.raises(UnknownHash):
        check(b"sesame", encoded)
    assert recognise(encoded) is None


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        (f"$argon2id$v=19$m=1048577,t=1,p=1$c29tZXNhbHQ${B64_32}", "1,048,577 KiB of memory"),
        (f"$argon2id$v=19$m=1048576,t=5,p=1$c29tZXNhbHQ${B64_32}", "5,242,880 KiB times passes"),
        (f"$argon2id$v=19$m=256,t=4294967295,p=1$c29tZXNhbHQ${B64_32}", "KiB times passes"),
        (f"$argon2id$v=19$m=256,t=1,p=17$c29tZXNhbHQ${B64_32}", "17 lanes"),
        ("$2b$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "17 as the cost"),
        ("pbkdf2_sha256$10000001$s$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=", "10,000,001 rounds"),
        ("$pbkdf2$10000001$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI", "10,000,001 rounds"),
        (f"$5$rounds=5000001$saltstring${C64_43}", "5,000,001 rounds"),
    ],
)
def test_costs_that_would_stop_the_server_are_refused_and_named(encoded: str, what: str) -> None:
    with pytest.raises(UnknownHash, match=re.escape(what)):
        validate(encoded)
    with pytest.raises(UnknownHash):
        check(b"sesame", encoded)


@pytest.mark.parametrize(
    "encoded",
    [
        f"$argon2id$v=19$m=1048576,t=4,p=16$c29tZXNhbHQ${B64_32}",
        "$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "pbkdf2_sha256$10000000$s$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
        f"$5$rounds=5000000$saltstring${C64_43}",
        f"$y$jFT$fqIAg4Vpv9o1MKgWMnyax.${C64_43}",
    ],
)
def test_the_highest_costs_are_accepted(encoded: str) -> None:
    validate(encoded)


@pytest.mark.parametrize(
    ("memory_kib", "time_cost", "parallelism"),
    [(7, 1, 1), (15, 1, 2), (8, 0, 1), (8, 1, 0), (8, -1, 1), (1048577, 1, 1), (1048576, 5, 1), (512, 1, 17)],
)
def test_no_cost_of_our_own_that_could_not_be_checked_later(memory_kib: int, time_cost: int, parallelism: int) -> None:
    with pytest.raises(ValueError, match="than"):
        Cost(memory_kib, time_cost, parallelism)


def test_a_refusal_names_every_accepted_form() -> None:
    with pytest.raises(UnknownHash) as caught:
        validate("$1$saltstri$YMyguxXMBpd2TEZ.vS/3q1")
    message = str(caught.value)
    assert all(scheme in message for scheme in Scheme)
    assert all(form in message for form in ("$argon2id$", "$2b$", "pbkdf2_sha256$", "$pbkdf2-sha256$", "$5$", "$6$"))


def test_a_refusal_of_a_known_form_shows_that_form_and_never_the_hash() -> None:
    with pytest.raises(UnknownHash, match=r"begins like bcrypt but is cut short or altered") as caught:
        validate("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJK")
    assert "CCCC" not in str(caught.value)
    assert "E5YP" not in str(caught.value)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_hash_or_an_unknown_hash(text: str) -> None:
    assert recognise(text) is None
    with pytest.raises(UnknownHash):
        validate(text)


@settings(deadline=None)
@given(st.sampled_from(QUICK), st.integers(min_value=0), st.characters(exclude_characters=string.digits))
def test_what_is_let_in_at_import_can_be_checked_at_login(
    vector: tuple[bytes, str], position: int, letter: str
) -> None:
    # No digits: they would make costs that take seconds.
    password, encoded = vector
    place = position % len(encoded)
    altered = encoded[:place] + letter + encoded[place + 1 :]
    if recognise(altered) is not None:
        assert check(password, altered) in (True, False)


@settings(deadline=None)
@given(st.sampled_from(QUICK), st.integers(1, 20), st.sampled_from(string.ascii_letters + string.digits + "./+"))
def test_no_altered_digest_matches(vector: tuple[bytes, str], from_the_end: int, letter: str) -> None:
    password, encoded = vector
    place = len(encoded) - from_the_end
    altered = encoded[:place] + letter + encoded[place + 1 :]
    assert altered == encoded or recognise(altered) is None or not check(password, altered)


def test_no_libcrypt_is_said_with_the_package_to_install() -> None:
    with pytest.raises(CannotHash, match="libcrypt1"):
        libcrypt(("libnothing.so.1", "libneither.so.2"))


def test_a_library_without_crypt_rn_is_no_libcrypt() -> None:
    with pytest.raises(CannotHash, match=r"libc\.so\.6"):
        libcrypt(("libc.so.6",))
    assert libcrypt(("libc.so.6", "libcrypt.so.1")).crypt_rn


def test_no_memory_is_not_a_wrong_password() -> None:
    with _little_memory():
        with pytest.raises(CannotHash, match="1048576 KiB"):
            hash_password(b"sesame", Cost(memory_kib=1024 * 1024, time_cost=1))
        with pytest.raises(CannotHash, match="1048576 KiB"):
            check(b"sesame", f"$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHQ${B64_32}")
        with pytest.raises(CannotHash, match="libcrypt gives no hash: is memory short"):
            check(b"sesame", f"$y$jFT$fqIAg4Vpv9o1MKgWMnyax.${C64_43}")


def _seconds(password: bytes, encoded: str) -> float:
    begun = time.perf_counter()
    check(password, encoded)
    return time.perf_counter() - begun


@contextmanager
def _little_memory() -> Iterator[None]:
    """This process may have 256 MiB more than it has, but no GiB more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 256 * 1024 * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
