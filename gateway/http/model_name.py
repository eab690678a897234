"""The name of the checkpoint that is served, asked for once."""

from __future__ import annotations

from starlette.requests import Request

from colpali_serve.schemas import INFO, ColPaliError, InfoDoc

_UNKNOWN = "unknown"


async def model_name(request: Request) -> str:
    """Return the checkpoint's name; answers of several vocabularies hold it."""
    state = request.app.state
    name: str | None = getattr(state, "model_name", None)
    if name is None:
        try:
            [info] = await state.flow.post(INFO, [InfoDoc(id="info")])
        except ColPaliError:
            return _UNKNOWN  # a Flow with an encoder of its own may not know the endpoint
        name = state.model_name = info.model or _UNKNOWN
    return name
