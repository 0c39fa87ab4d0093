"""One running Petridish for all tests that need a whole one: starting it takes seconds."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from tests.oidc_provider import OidcProvider, oidc_provider
from tests.petridish import Petridish, running
from tests.saml_provider import SamlProvider


@dataclass(frozen=True)
class Company:
    """Petridish with both kinds of single sign-on, and the providers themselves."""

    petridish: Petridish
    oidc: OidcProvider
    saml: SamlProvider

    def person(self, username: str) -> tuple[str, ...] | None:
        """Display name, department, address and role, as the database has them."""
        with psycopg.connect((self.petridish.data_dir / "database_url").read_text().strip()) as connection:
            return connection.execute(
                "SELECT display_name, department, email, role FROM accounts_user WHERE username = %s",
                [username],
            ).fetchone()

    def ledger(self, username: str) -> list[tuple[str, str]]:
        with psycopg.connect((self.petridish.data_dir / "database_url").read_text().strip()) as connection:
            return connection.execute(
                "SELECT action, coalesce(data->>'method', '') FROM audit_entry WHERE actor = %s ORDER BY id",
                [username],
            ).fetchall()


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    saml = SamlProvider()
    (folder / "metadata.xml").write_text(saml.metadata())
    with oidc_provider() as oidc:
        settings = {
            "OIDC_SERVER_URL": oidc.url,
            "OIDC_CLIENT_ID": oidc.client_id,
            "OIDC_CLIENT_SECRET": oidc.client_secret,
            "OIDC_NAME": "Company login",
            "SAML_METADATA_FILE": str(folder / "metadata.xml"),
            "SAML_NAME": "Company SAML",
            "SAML_ATTRIBUTES": "username=uid,email=mail,display_name=displayName,department=department",
        }
        with running(folder / "data", **settings) as petridish:
            yield Company(petridish, oidc, saml)


@pytest.fixture(scope="session")
def petridish(company: Company) -> Petridish:
    return company.petridish
