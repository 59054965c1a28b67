"""A SAGE graph: ticks in, decisions out. Attention of a metabolic model moves over named targets.

sage-engine convert examples/models/metabolic.json metabolic.fbs
python3 ticks.py metabolic.fbs
"""

import sys

import sage_engine as sage

TICKS = [
    {"ts": 0, "targets": [{"id": "door", "salience": 0.5}, {"id": "lamp", "salience": 0.4}]},
    {"ts": 1, "targets": [{"id": "door", "salience": 0.9}, {"id": "lamp", "salience": 0.4}]},
    {
        "ts": 2,
        "state": sage.MetabolicState.DREAM,
        "targets": [{"id": "door", "salience": 0.2}, {"id": "lamp", "salience": 0.1}],
    },
    {"ts": 3, "targets": [{"id": "door", "salience": 7}]},  # out of range: an error record, and the stream goes on
    {"ts": 4, "targets": [{"id": "door", "salience": 0.99}, {"id": "lamp", "salience": 0.1}]},
]

with sage.Engine() as engine, engine.model(sys.argv[1]) as model, model.session() as session:
    for record in session.ticks(TICKS, strict=False):
        if "error" in record:
            print("refused:", record["error"]["message"])
            continue
        state = sage.MetabolicState(record["state"])
        shares = ", ".join(f"{target} {atp:.1f}" for target, atp in record["decisions"].items())
        print(f"{record['ts']}: {state}: {shares}")

    # The state between ticks goes into a file, and on from there: the same bytes as without the stop.
    state = session.snapshot()
    with model.session() as later:
        later.restore(state)
        print("later:", later.tick({"ts": 5, "targets": [{"id": "door", "salience": 0.3}]})["state"])
