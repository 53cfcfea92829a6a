"""What the account `sandbox` and the sandbox that plays it share: everything follows from one secret."""

import base64
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# https://www.secg.org/sec2-v2.pdf, 2.4.2: private keys on P-256 are numbers from 1 to this less one.
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class Credentials:
    """Those of a Twilio account and of a SendGrid account; the keys are base64 of DER, as both sides' settings are."""

    account_sid: str
    auth_token: str
    api_key: str
    sendgrid_private_key: str
    sendgrid_public_key: str


def credentials_of(secret: str) -> Credentials:
    """Return the credentials that follow from a secret, always the same; nothing leads back to it."""

    def derived(name: str) -> bytes:
        return hmac.digest(secret.encode(), f"switchboard sandbox {name}".encode(), "sha256")

    number = int.from_bytes(derived("sendgrid signing key"), "big") % (ORDER_OF_P256 - 1) + 1
    key = ec.derive_private_key(number, ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Credentials(
        account_sid=f"AC{derived('account sid').hex()[:32]}",
        auth_token=derived("auth token").hex(),
        api_key=f"SG.sandbox.{derived('api key').hex()}",
        sendgrid_private_key=base64.b64encode(private).decode(),
        sendgrid_public_key=base64.b64encode(public).decode(),
    )
