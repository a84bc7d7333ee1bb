"""Grafana's JSON of a board: only what differs from Grafana's own defaults, in a steady order."""

from __future__ import annotations

import json
from typing import Any, Final

from consumer.monitor.dashboards.boards import Board, Panel

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH: Final = 24
_GRAPH: Final = (12, 8)
_STAT: Final = (4, 4)


def dashboard_json(board: Board) -> str:
    """One dashboard, to be imported or provisioned as it is; the data source is chosen in it."""
    variables: list[dict[str, Any]] = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    ]
    if board.by_connection:
        query = 'label_values(hookline_webhooks_total{connection!=""}, connection)'
        variables.append(
            {
                "name": "connection",
                "label": "Connection",
                "type": "query",
                "datasource": _SOURCE,
                "query": {"query": query, "refId": "connections"},
                "refresh": 2,
                "multi": True,
                "includeAll": True,
                "allValue": ".+",
                "current": {"text": "All", "value": "$__all"},
            }
        )
    made = {
        "uid": f"hookline-{board.name}",
        "title": board.title,
        "tags": ["hookline"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "links": [
            {"type": "dashboards", "title": "Hookline", "tags": ["hookline"], "asDropdown": True}
        ],
        "panels": _panels(board.panels),
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _panels(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    x = y = row = 0
    for number, panel in enumerate(panels, 1):
        width, height = _STAT if panel.kind == "stat" else _GRAPH
        if x + width > _WIDTH or (row and height != row):
            x, y = 0, y + row
        row = height
        made.append(_panel(number, panel, {"x": x, "y": y, "w": width, "h": height}))
        x += width
    return made


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    graph = panel.kind == "graph"
    made: dict[str, Any] = {
        "id": number,
        "title": panel.title,
        "type": "timeseries" if graph else "stat",
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, **({"min": 0} if graph else {})},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": _SOURCE,
                "expr": query.promql,
                "legendFormat": query.legend or panel.title,
                "exemplar": "_bucket" in query.promql,
            }
            for n, query in enumerate(panel.queries)
        ],
    }
    if panel.about:
        made["description"] = panel.about
    if graph:
        made["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}}
    return made
