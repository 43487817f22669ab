"""The gateway: what it kept of a user of the model, deleted on request."""

from dataclasses import asdict

from ninja import Field, Router, Schema
from pydantic import ConfigDict

from annotate.api.bearer import ApiRequest, within_project
from annotate.people.deletion import gateway_users
from annotate.people.permissions import Capability

router = Router(tags=["gateway"])


class DeletionIn(Schema):
    model_config = ConfigDict(extra="forbid")
    user: str = Field(
        min_length=1,
        max_length=gateway_users.LONGEST_NAME,
        description="As the program named them: `user` or `safety_identifier`.",
    )
    dry_run: bool = Field(False, description="Only say what there is.")


class DeletionOut(Schema):
    """What was deleted, or with `dry_run` would be. `prompts` are with all of their responses; `kept_prompts` stay,
    since others have them too; `left` conversations wait for the same request once more."""

    conversations: int
    feedback: int
    prompts: int
    kept_prompts: int
    left: int


@router.post(
    "/projects/{slug:slug}/gateway/deletions",
    response=DeletionOut,
    summary="Delete what the gateway kept of a user",
)
@within_project(Capability.MANAGE)
def delete_gateway_user(request: ApiRequest, data: DeletionIn) -> dict[str, int]:
    """Sent again it deletes what came meanwhile."""
    act = gateway_users.preview if data.dry_run else gateway_users.delete
    return asdict(act(project=request.project, user=data.user, by=request.user))
