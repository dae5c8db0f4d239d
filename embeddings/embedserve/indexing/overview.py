"""Every code collection of a Qdrant, ours and the clients'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedserve.indexing.rest import collection_path
from embedserve.indexing.stored import CLIENTS_MARKER_ID, MARKER_ID, dimension_of
from embedserve.indexing.workspace import CLIENTS_PREFIX, OWN_PREFIX

if TYPE_CHECKING:
    from embedserve.indexing.qdrant import Qdrant


@dataclass(frozen=True)
class Overview:
    """One code collection, ours (`own`) or a client's, of whichever workspace."""

    name: str
    own: bool
    points: int
    dimension: int
    complete: bool | None


async def overview(qdrant: Qdrant) -> tuple[str, list[Overview]]:
    """Qdrant's version and every code collection in it. Raises IndexingFailed."""
    version = str((await qdrant.call("GET", "/")).get("version"))
    names = [item["name"] for item in (await qdrant.call("GET", "/collections"))["collections"]]
    found = []
    for name in sorted(name for name in names if name.startswith((OWN_PREFIX, CLIENTS_PREFIX))):
        own = name.startswith(OWN_PREFIX)
        info = await qdrant.call("GET", collection_path(name))
        body = {"ids": [MARKER_ID if own else CLIENTS_MARKER_ID], "with_payload": True}
        marker = await qdrant.call("POST", collection_path(name, "/points"), body)
        payload = marker[0]["payload"] or {} if marker else {}
        complete = payload.get("complete" if own else "indexing_complete")
        points = (info.get("points_count") or 0) - len(marker)
        found.append(Overview(name, own, points, dimension_of(info), complete))
    return version, found
