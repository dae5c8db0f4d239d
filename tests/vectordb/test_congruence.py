"""The server answers what qdrant-client's own local mode answers, field by field, over random collections and queries.

Two implementations, one body (see `congruence`), as in qdrant-client's congruence tests; with QDRANT_URL the same
against a real server. CONGRUENCE_SEEDS (3 by default) says how many random collections.
"""

import os

import pytest
from qdrant_client import QdrantClient

from vectordb.congruence import Pair, check_queries, check_reads, check_updates

SEEDS = range(int(os.environ.get("CONGRUENCE_SEEDS", "3")))


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def pair(url, name, request):
    server = QdrantClient(url=url, timeout=60, api_key=os.environ.get("QDRANT_API_KEY"))
    pair = Pair(server, QdrantClient(":memory:"), name, request.param)
    pair.make()
    yield pair
    server.close()


def test_every_kind_of_query_scores_and_orders_as_the_local_mode(pair):
    check_queries(pair)


def test_groups_facets_counts_and_scrolls_are_the_local_modes(pair):
    check_reads(pair)


def test_every_kind_of_update_leaves_the_points_of_the_local_mode(pair):
    check_updates(pair)
