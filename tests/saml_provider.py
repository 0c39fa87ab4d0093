"""A SAML identity provider on paper: metadata with a certificate, and answers signed with its key."""

import base64
import secrets
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from onelogin.saml2.utils import OneLogin_Saml2_Utils

ENTITY_ID = "https://idp.example.com/saml"
SSO_URL = "https://idp.example.com/sso"


@dataclass(frozen=True)
class AuthnRequest:
    """What the portal asks: who is this? `id` must come back in the answer."""

    id: str
    acs_url: str
    issuer: str

    @classmethod
    def of(cls, address: str) -> "AuthnRequest":
        """From the address to which the portal sent the browser."""
        assert address.startswith(SSO_URL), address
        encoded = parse_qs(urlsplit(address).query)["SAMLRequest"][0]
        xml = ElementTree.fromstring(zlib.decompress(base64.b64decode(encoded), -15))  # noqa: S314  the portal's own
        issuer = xml.findtext("{urn:oasis:names:tc:SAML:2.0:assertion}Issuer")
        return cls(
            id=xml.attrib["ID"], acs_url=xml.attrib["AssertionConsumerServiceURL"], issuer=issuer or ""
        )


class SamlProvider:
    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        self._certificate = (
            builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        )
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def metadata(self) -> str:
        certificate = "".join(self._certificate.splitlines()[1:-1])
        return f"""<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{ENTITY_ID}">
          <md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
            <md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
              <ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data>
            </ds:KeyInfo></md:KeyDescriptor>
            <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{SSO_URL}"/>
          </md:IDPSSODescriptor>
        </md:EntityDescriptor>"""

    def answer(
        self, to: AuthnRequest, name_id: str, attributes: dict[str, str], *, signed: bool = True
    ) -> str:
        """A `SAMLResponse` as a browser would carry it."""
        now = datetime.now(UTC)
        assertion = _assertion(to, name_id, attributes, now)
        if signed:
            assertion = OneLogin_Saml2_Utils.add_sign(assertion, self._key, self._certificate).decode()
        in_response = f'InResponseTo="{to.id}"' if to.id else ""
        response = f"""<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"
            xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{secrets.token_hex(16)}" Version="2.0"
            IssueInstant="{_at(now)}" Destination="{to.acs_url}" {in_response}>
          <saml:Issuer>{ENTITY_ID}</saml:Issuer>
          <samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
          {assertion}</samlp:Response>"""
        return base64.b64encode(response.encode()).decode()


def _assertion(to: AuthnRequest, name_id: str, attributes: dict[str, str], now: datetime) -> str:
    until, since = _at(now + timedelta(minutes=2)), _at(now - timedelta(minutes=2))
    in_response = f'InResponseTo="{to.id}"' if to.id else ""
    statements = "".join(
        f'<saml:Attribute Name="{escape(name)}">'
        f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue></saml:Attribute>"
        for name, value in attributes.items()
    )
    return f"""<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{secrets.token_hex(16)}"
        Version="2.0" IssueInstant="{_at(now)}"><saml:Issuer>{ENTITY_ID}</saml:Issuer>
      <saml:Subject>
        <saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{escape(name_id)}</saml:NameID>
        <saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">
          <saml:SubjectConfirmationData NotOnOrAfter="{until}" Recipient="{to.acs_url}" {in_response}/>
        </saml:SubjectConfirmation>
      </saml:Subject>
      <saml:Conditions NotBefore="{since}" NotOnOrAfter="{until}">
        <saml:AudienceRestriction><saml:Audience>{to.issuer}</saml:Audience></saml:AudienceRestriction>
      </saml:Conditions>
      <saml:AuthnStatement AuthnInstant="{_at(now)}" SessionIndex="_{secrets.token_hex(8)}"><saml:AuthnContext>
        <saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>
      </saml:AuthnContext></saml:AuthnStatement>
      <saml:AttributeStatement>{statements}</saml:AttributeStatement>
    </saml:Assertion>"""


def _at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
