"""Single sign-on as allauth wants it told. No Django here: `portal.settings` reads it."""

from typing import Any

from portal.env import Environment, Oidc, Saml

# The names under which accounts are linked to people; they stand in the database and in addresses.
OIDC_ID = "oidc"
SAML_ID = "saml"
METADATA_KEPT = 3600  # seconds


def providers(environment: Environment) -> dict[str, dict[str, Any]]:
    """`SOCIALACCOUNT_PROVIDERS`: only what the environment configures, by default nothing."""
    configured: dict[str, dict[str, Any]] = {}
    if environment.oidc:
        configured["openid_connect"] = {"OAUTH_PKCE_ENABLED": True, "APPS": [_oidc(environment.oidc)]}
    if environment.saml:
        configured["saml"] = {"APPS": [_saml(environment.saml)]}
    return configured


def _oidc(oidc: Oidc) -> dict[str, Any]:
    return {
        "provider_id": OIDC_ID,
        "name": oidc.name,
        "client_id": oidc.client_id,
        "secret": oidc.client_secret,
        "settings": {"server_url": oidc.server_url, "oauth_pkce_enabled": True},
    }


def _saml(saml: Saml) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "idp": {
            "entity_id": saml.idp_entity_id,
            "metadata_url": saml.metadata_url,
            "metadata_cache_timeout": METADATA_KEPT,
        },
        # Unsigned assertions, and answers nobody asked for, are refused.
        "advanced": {"strict": True, "want_assertion_signed": True, "reject_idp_initiated_sso": True},
    }
    if saml.entity_id:
        settings["sp"] = {"entity_id": saml.entity_id}
    if saml.attributes:
        settings["attribute_mapping"] = saml.attributes
    return {"provider_id": SAML_ID, "name": saml.name, "client_id": SAML_ID, "settings": settings}
