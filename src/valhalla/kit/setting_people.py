"""The settings that say how people sign in to the console with an issuer."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SecretStr

from valhalla.kernel.scopes import Role
from valhalla.kit.setting_types import Duration, HttpUrl, IssuerUrl, ReadableFile
from valhalla.kit.setting_ways import Ways


class People(Ways):
    """Those after the first."""

    console_url: HttpUrl | None = Field(
        None, description="how browsers reach the console, such as https://valhalla.example/console; as they ask for it"
    )
    oidc_issuer: IssuerUrl | None = Field(
        None, description="an OpenID Connect issuer that people sign in to the console with; see docs/signing-in.md"
    )
    oidc_client_id: str | None = Field(None, max_length=256, description="the console's client id there")
    oidc_client_secret: SecretStr | None = Field(None, description="its secret; without one it is a public client")
    oidc_client_secret_file: ReadableFile | None = Field(None, description="a file with the secret instead")
    oidc_scopes: list[str] = Field(["openid", "email", "profile"], description="what the issuer is asked for")
    oidc_name_claim: str = Field("email", max_length=200, description="the claim that people are called by")
    oidc_owner_claim: str | None = Field(
        None, max_length=200, description="the claim that says whose sandboxes they make; made of the name when absent"
    )
    oidc_groups_claim: str = Field("groups", max_length=200, description="the claim that lists their groups")
    oidc_roles: dict[str, Role] = Field(
        {}, description="the role that each group gives, as {platform = \"operator\"}; '*': everybody the issuer knows"
    )
    oidc_quorums: dict[str, str] = Field(
        {}, description='the quorum that each group may approve in, as {accounting = "finance"}, beside its role'
    )
    oidc_domains: list[str] = Field([], description="domains of mail that may sign in; any when empty")
    oidc_session: Duration = Field(
        timedelta(hours=1), description="after how long they are sent to the issuer again, which may know them no more"
    )
