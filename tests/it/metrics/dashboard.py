"""Prints what Grafana does not know of the dashboard on standard input.

Grafana's own types read it, and write it again. What is lost or changed on the way is not in its schema.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(path, read, known):
    if isinstance(read, dict) and isinstance(known, dict):
        for key, value in read.items():
            if key in known:
                yield from differences(f"{path}.{key}", value, known[key])
            else:
                yield f"{path}.{key}"
    elif isinstance(read, list) and isinstance(known, list) and len(read) == len(known):
        for index, (one, other) in enumerate(zip(read, known)):
            yield from differences(f"{path}[{index}]", one, other)
    elif read != known:
        yield path


register_default_plugins()
dashboard = json.load(sys.stdin)
known = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
for difference in differences("", dashboard, known):
    print(difference)
