"""An SSH key's signature over a challenge: the format of `ssh-keygen -Y sign` (OpenSSH PROTOCOL.sshsig).

What is signed is not the challenge itself but `SSHSIG`, the namespace and the hash of it, so that a
signature for Tongbao is good for nothing else, and none made for something else is good here. Keys:
Ed25519, ECDSA P-256, P-384, P-521, RSA of 2048 bits and more with SHA-2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

NAMESPACE = "tongbao"
MAGIC = b"SSHSIG"
VERSION = 1
HASH = "sha512"
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
RSA_BITS_MIN = 2_048
CURVES: dict[str, hashes.HashAlgorithm] = {
    "ecdsa-sha2-nistp256": hashes.SHA256(),
    "ecdsa-sha2-nistp384": hashes.SHA384(),
    "ecdsa-sha2-nistp521": hashes.SHA512(),
}
RSA: dict[str, hashes.HashAlgorithm] = {
    "rsa-sha2-256": hashes.SHA256(),
    "rsa-sha2-512": hashes.SHA512(),
}


class SshError(Exception):
    """Not a key or a signature that we can read; the text says why."""


class Signature(msgspec.Struct, frozen=True):
    """A signature as `ssh-keygen -Y sign` makes it."""

    public_key: bytes  # the key's blob, as in authorized_keys before base64
    namespace: str
    hash: str  # sha256 or sha512
    signature: bytes  # string algorithm, string signature: also what an agent answers


# -- reading ------------------------------------------------------------------------------------


class Fields:
    """Strings of RFC 4251: four bytes of length, then as many bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        if len(taken) != count:
            raise SshError("cut off")
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(4))

    def string(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        try:
            return self.string().decode("ascii")
        except UnicodeDecodeError:
            raise SshError("a name is not ASCII") from None

    def end(self) -> None:
        if self._data:
            raise SshError("bytes are left over")


def string(data: bytes) -> bytes:
    """A string of RFC 4251."""
    return len(data).to_bytes(4) + data


def key_blob(public_key: str) -> bytes:
    """The blob of a line `ssh-ed25519 AAAA… comment`; raises SshError for a key that we can not use."""
    words = public_key.split()
    if len(words) < 2:
        raise SshError("a public key is a line as in authorized_keys")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        raise SshError("the key is not base64") from None
    _ = _load(blob)
    return blob


def parse(armored: str) -> Signature:
    """The text between BEGIN and END of an SSH signature."""
    lines = armored.strip().splitlines()
    if not lines or lines[0] != BEGIN or lines[-1] != END:
        raise SshError(f"no {BEGIN} … {END}")
    try:
        fields = Fields(base64.b64decode("".join(lines[1:-1]), validate=True))
    except binascii.Error:
        raise SshError("the signature is not base64") from None
    if fields.take(len(MAGIC)) != MAGIC or fields.number() != VERSION:
        raise SshError(f"not an SSHSIG of version {VERSION}")
    public_key, namespace = fields.string(), fields.text()
    _ = fields.string()  # reserved
    hash_name, signature = fields.text(), fields.string()
    fields.end()
    return Signature(public_key, namespace, hash_name, signature)


# -- verifying ----------------------------------------------------------------------------------


def signed_data(challenge: bytes, namespace: str = NAMESPACE, hash_name: str = HASH) -> bytes:
    """The bytes that the key signs."""
    if hash_name not in ("sha256", "sha512"):
        raise SshError(f"hash {hash_name}")
    digest = hashlib.new(hash_name, challenge).digest()
    return MAGIC + b"".join(map(string, (namespace.encode(), b"", hash_name.encode(), digest)))


def verify(signature: Signature, public_key: bytes, challenge: bytes) -> bool:
    """Whether this key signed the challenge for us."""
    if signature.public_key != public_key or signature.namespace != NAMESPACE:
        return False
    try:
        data = signed_data(challenge, signature.namespace, signature.hash)
        fields = Fields(signature.signature)
        algorithm, value = fields.text(), fields.string()
        match _load(public_key):
            case ed25519.Ed25519PublicKey() as key if algorithm == "ssh-ed25519":
                key.verify(value, data)
            case ec.EllipticCurvePublicKey() as key if algorithm == _type(public_key):
                numbers = Fields(value)
                r, s = (int.from_bytes(numbers.string(), signed=True) for _ in range(2))
                der = utils.encode_dss_signature(r, s)
                key.verify(der, data, ec.ECDSA(CURVES[algorithm]))
            case rsa.RSAPublicKey() as key if algorithm in RSA:
                key.verify(value, data, padding.PKCS1v15(), RSA[algorithm])
            case _:
                return False
    except (InvalidSignature, SshError, ValueError):
        return False
    return True


def _type(blob: bytes) -> str:
    return Fields(blob).text()


def _load(blob: bytes) -> object:
    name = _type(blob)
    line = f"{name} {base64.b64encode(blob).decode()}".encode()
    try:
        key = serialization.load_ssh_public_key(line)
    except (ValueError, UnsupportedAlgorithm):
        raise SshError(f"no key that we can use: {name}") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise SshError(f"an RSA key of {key.key_size} bits is too short")
    known = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    if not isinstance(key, known):
        raise SshError(f"no key that we can use: {name}")
    return key
