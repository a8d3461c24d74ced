"""
Content Credentials for tests: a newsroom of no name that signs what it is given.

Keys and certificates are made on the spot, for a day, and nothing is asked of any server.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Newsroom:
    """Who signs."""

    chain_pem: bytes  # its certificate, then that of who vouches for it
    key_pem: bytes
    authority_pem: bytes  # of who vouches for it

    def sign(
        self,
        source: Path,
        target: Path,
        *,
        actions: tuple[str, ...] = ("c2pa.created",),
        source_type: str = "digitalCapture",
    ) -> Path:
        """Write a signed copy that says it came from a camera, unless told otherwise."""
        done = [{"action": action} for action in actions]
        done[0]["digitalSourceType"] = SOURCE_TYPE + source_type
        manifest = {
            "claim_generator_info": [{"name": "Test Camera", "version": "1.0"}],
            "format": "video/mp4",
            "assertions": [{"label": "c2pa.actions", "data": {"actions": done}}],
        }
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, self.chain_pem, self.key_pem, None)
        with (
            c2pa.Context.from_dict(OFFLINE) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder.from_json(json.dumps(manifest), context=context) as builder,
        ):
            builder.sign_file(str(source), str(target), signer)
        return target


def make_newsroom() -> Newsroom:
    """Make keys and certificates as C2PA wants them; nobody else knows the authority."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate(
        "Test Authority",
        authority_key,
        issuer="Test Authority",
        issuer_key=authority_key,
        is_ca=True,
    )
    own = _certificate("Test Signer", key, issuer="Test Authority", issuer_key=authority_key)
    pem = serialization.Encoding.PEM
    return Newsroom(
        chain_pem=own.public_bytes(pem) + authority.public_bytes(pem),
        key_pem=key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        authority_pem=authority.public_bytes(pem),
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_ca: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    ) | {"encipher_only": False, "decipher_only": False, "crl_sign": is_ca}
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_ca:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        vouched = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(usages, critical=False)
        builder = builder.add_extension(vouched, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Newsroom"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
