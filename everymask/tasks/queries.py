"""Networks of queries serve several tasks: each takes their recipe where the network is one."""

from __future__ import annotations

from everymask.data.fingerprint import Fingerprint
from everymask.models.specs.queries import QuerySpec
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Recipe
from everymask.settings.plan import Plan, TaskSettings
from everymask.settings.query_recipes import resolve_queries


def or_queries(recipe: Recipe, own: type[TaskSettings]) -> Recipe:
    """The recipe of a task, or `resolve_queries` where the network is one of queries; `own` are the task's settings."""

    def chosen(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
        if isinstance(config.network, QuerySpec):
            return resolve_queries(config, config.network, measured, facts, own)
        return recipe(config, measured, facts)

    return chosen
