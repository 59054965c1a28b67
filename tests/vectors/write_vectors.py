"""Writes conformance.txt: the steps of README.md, with their numbers drawn from a seed.

    tests/vectors/write_vectors.py           writes it
    tests/vectors/write_vectors.py --check   only says whether it is as this script writes it

What must give the same bits on every machine runs on the cpu backend's portable kernels or on the reference; cases whose
name begins with native_ run as the machine likes, and are compared between the runners of one machine only.
"""
import pathlib
import sys

sys.dont_write_bytecode = True
from quantizer import quantizer  # noqa: E402
from steps import *  # noqa: E402,F403  (its words are all that is said here)

PATH = pathlib.Path(__file__).with_name("conformance.txt")


def attention_in_every_type():
    for dtype in ("f32", "f64", "bf16", "f16"):
        begin(f"plain_{dtype}")
        qkvo(dtype)
        finish("features", "plan", "memory", "explain", "attend", "attend")
    for dtype in ("f32", "f64"):
        begin(f"reference_{dtype}", backend="reference")
        qkvo(dtype, b=2, hq=4, hkv=2)
        finish()


def every_feature():
    begin("scale_zero", "a scale of 0 is meant: all weights are equal")
    qkvo()
    say("set features", SCALE)
    finish("features", "plan", "attend")
    for name, bits, align in (("causal_top_left", CAUSAL, 1), ("causal_bottom_right", CAUSAL, 2),
                              ("window", LEFT | RIGHT, 2)):
        begin(name)
        qkvo()
        say("set features", bits)
        say("set alignment", align)
        if bits & LEFT:
            say("set window_left 2")
            say("set window_right 1")
        finish("features", "plan", "attend")
    begin("heads", "4 query heads over 2 key heads over 1 value head of another width")
    qkvo(hq=4, hkv=2, hv=1, dv=3)
    finish("features", "plan", "attend")
    begin("bias_broadcast", "an axis that repeats has stride 0")
    qkvo(b=2)
    tensor(BIAS, "f32", [2, 2, 5, 7], normal([1, 1, 5, 7]))
    say("strides", BIAS, "0,0,7,1")
    finish()
    begin("bool_mask", "a query that sees nothing gives 0, and what nobody sees may be NaN")
    qkvo()
    keep = [draws.random() < 0.5 and i // 7 % 5 != 2 and i % 7 != 6 for i in range(70)]
    tensor(MASK, "bool", [1, 2, 5, 7], keep)
    say("result", LSE, "f32", "1,2,5")
    finish()
    begin("bit_mask")
    qkvo()
    tensor(BIT_MASK, "u8", [1, 2, 5, 1], [draws.randrange(128) for _ in range(10)])
    finish()
    begin("block_mask")
    qkvo(sq=6, skv=8)
    say("set mask_block_q 2")
    say("set mask_block_kv 4")
    tensor(BLOCK_MASK, "u8", [1, 1, 3, 2], [1, 0, 1, 1, 0, 1])
    finish()
    begin("csr_mask")
    qkvo(sq=3, skv=5)
    say("set mask_block_q 1")
    say("set mask_block_kv 1")
    tensor(INDPTR, "i32", [1, 1, 4], [0, 2, 2, 5])
    tensor(INDICES, "i32", [5], [0, 3, 1, 2, 4])
    finish()
    begin("alibi_softcap_sinks")
    qkvo()
    say("set alignment", 2)
    say("set softcap 2.5")
    tensor(ALIBI, "f32", [2], [0.5, 0.25])
    tensor(SINKS, "f32", [2], [0.75, -1.5])
    say("result", LSE, "f32", "1,2,5")
    finish("features", "plan", "attend")
    begin("varlen", "three sequences packed, the second empty")
    three_sequences()
    finish("features", "plan", "attend")
    begin("lengths")
    qkvo(b=2)
    tensor(USED_Q, "i32", [2], [5, 2])
    tensor(USED_K, "i32", [2], [3, 7])
    finish("features", "plan", "attend")
    begin("paged", "pages of 4 keys, out of order")
    tensor(Q, "f32", [2, 2, 1, 4])
    tensor(K, "f32", [5, 2, 4, 4])
    tensor(V, "f32", [5, 2, 4, 4])
    say("result", O, "f32", "2,2,1,4")
    tensor(USED_K, "i32", [2], [6, 3])
    tensor(TABLE, "i32", [2, 2], [3, 0, 4, 1])
    finish("features", "plan", "attend")
    begin("append", "a key and a value are written behind those in use, then attended to")
    qkvo(sq=1, skv=6)
    say("set aliases", 1 << K | 1 << V)
    tensor(USED_K, "i32", [1], [4])
    tensor(K_NEW, "f32", [1, 2, 1, 8])
    tensor(V_NEW, "f32", [1, 2, 1, 8])
    finish("features", "plan", "attend")
    begin("weights_and_scores")
    qkvo()
    say("result", WEIGHTS, "f32", "1,2,5,7")
    say("result", SCORES, "f32", "1,2,5,7")
    finish("features", "plan", "attend")
    begin("dropout", backend="reference")
    qkvo()
    say("set dropout_p 0.5")
    tensor(PHILOX, "u64", [2], [7, 0])
    finish("features", "plan", "attend")
    begin("quantised", backend="reference")
    tensor(Q, "i8", [1, 1, 2, 4], [draws.randrange(-128, 128) for _ in range(8)])
    tensor(K, "i8", [1, 1, 3, 4], [draws.randrange(-128, 128) for _ in range(12)])
    tensor(V, "i8", [1, 1, 3, 4], [draws.randrange(-128, 128) for _ in range(12)])
    say("result", O, "f32", "1,1,2,4")
    for slot, scale in ((SCALE_Q, 0.02), (SCALE_K, 0.03), (SCALE_V, 0.01)):
        tensor(slot, "f32", [1], [scale])
    for field in ("granularity_q", "granularity_k", "granularity_v"):
        say("set", field, 1)
    finish("features", "plan", "attend")
    begin("materialised")
    qkvo()
    say("set algorithm 1")
    finish()
    begin("blocks")
    qkvo(skv=40)
    say("set algorithm 2")
    say("set block_q 4")
    say("set block_kv 16")
    finish()


def fields_told_apart():
    """Fields of one type that lie side by side: whoever swaps two of them is refused, or gets other numbers."""
    begin("varlen_longest", "the longest query sequence has 4 rows, the longest of keys 5; then a bound is one too low")
    three_sequences()
    for longest_q, longest_kv in ((4, 5), (3, 5), (4, 4)):
        say("set max_seq_q", longest_q)
        say("set max_seq_kv", longest_kv)
        finish("plan", "memory", "attend")
    begin("quantised_each_its_way", "a granularity of its own for each of q, k, v, p and o, the result in bytes",
          backend="reference")
    integers(Q, [2, 2, 3, 4])
    integers(K, [2, 1, 5, 4])
    integers(V, [2, 1, 5, 4])
    say("result", O, "i8", "2,2,3,4")
    say("result", LSE, "f32", "2,2,3")
    scales({"q": PER_TOKEN, "k": PER_BLOCK, "v": PER_CHANNEL, "p": PER_TENSOR, "o": PER_HEAD},
           {"q": [2, 2, 3], "k": [2, 1, 3], "v": [1, 1, 4], "p": [1], "o": [1, 2]})
    finish("features", "plan", "attend")
    begin("quantised_by_blocks", "a scale for every two tokens, the last block cut short", backend="reference")
    integers(Q, [1, 2, 3, 4])
    integers(K, [1, 2, 5, 4])
    integers(V, [1, 2, 5, 4])
    say("result", O, "f32", "1,2,3,4")
    scales(dict.fromkeys("qkvpo", PER_BLOCK),
           {"q": [1, 2, 2], "k": [1, 2, 3], "v": [1, 2, 3], "p": [1, 2, 2], "o": [1, 2, 2]})
    finish()
    begin("numbers_named", "refusals that name the numbers given")
    qkvo()
    refused = [{f"granularity_{letter}": unknown} for unknown, letter in enumerate("qkvpo", PER_BLOCK + 1)]
    refused += [{"scale_block": 11}, {"scale": 0.5}, {"alignment": 12}, {"algorithm": 13},
                {"block_q": 65537, "block_kv": 65538}, {"dynamic_axes": 1 << 20},
                {"requirements": 1 << 21}]  # the last stays: a binding may only add to it
    for fields in refused:
        for field, number in fields.items():
            say("set", field, number)
        finish("plan")
        for field in fields:
            say("set", field, 0)


def memory_as_it_comes():
    for offset in (1, 4, 8):
        begin(f"placed_{offset}", "results do not depend on where buffers lie" if offset == 1 else None)
        say("place", offset)
        draws.seed(9)
        qkvo()
        finish()
    draws.seed(11)
    begin("strided", "queries stored as [B,S,H,D]")
    tensor(Q, "f32", [1, 2, 5, 8])
    say("strides", Q, "80,8,16,1")
    tensor(K, "f32", [1, 2, 7, 8])
    tensor(V, "f32", [1, 2, 7, 8])
    say("result", O, "f32", "1,2,5,8")
    finish()
    begin("no_keys")
    qkvo(skv=0)
    finish()
    begin("no_queries")
    qkvo(sq=0)
    finish()
    begin("no_batch")
    qkvo(b=0)
    finish()
    begin("denormals", "are not zero")
    qkvo(hq=1, hkv=1, sq=2, skv=1, d=2)
    tensor(V, "f32", [1, 1, 1, 2], [1e-40, -3e-45])
    finish()
    begin("special_numbers")
    qkvo(hq=1, hkv=1, sq=2, skv=2, d=2)
    tensor(V, "f32", [1, 1, 2, 2], [float("inf"), -0.0, 1.0, float("nan")])
    finish()
    for threads in (1, 2):
        begin(f"threads_{threads}", backend=None)
        say("option threads", threads)
        say("plan_option use_simd false")
        say("plan_option backend cpu")
        draws.seed(13)
        qkvo(hq=4, hkv=2, sq=33, skv=65)
        finish()
    draws.seed(17)


def flat():
    for name, causal, scale in (("plain", 0, 0), ("causal", 1, 0), ("bottom_right", 2, 0), ("scale", 0, 0.5)):
        for layout in (0, 1):
            begin(f"native_flat_{name}_{layout}", backend=None)
            say("option threads 1")
            shapes = ([1, 4, 3, 8], [1, 2, 6, 8], [1, 2, 6, 5], [1, 4, 3, 5])
            if layout:
                shapes = tuple([b, s, h, d] for b, h, s, d in shapes)
            for slot in (Q, K, V):
                tensor(slot, "f32", shapes[slot])
            say("result", O, "f32", shape_text(shapes[O]))
            say("flat", layout, causal, scale)
    for dtype in ("f32", "f64", "bf16", "f16"):
        begin(f"flat_one_key_{dtype}", "one key: the value itself, the same on every machine", backend=None)
        qkvo(dtype, sq=3, skv=1)
        say("flat 0 0 0")
    begin("native_plan", backend=None)
    qkvo()
    finish("plan", "attend")


def refusals():
    begin("unknown_option", backend=None)
    say("option thread 2")
    say("session")
    qkvo()
    finish("plan")
    begin("bad_option", backend=None)
    say("option threads many")
    qkvo()
    finish("plan")
    begin("unknown_plan_option", backend=None)
    say("plan_option acuracy exact")
    qkvo()
    finish()
    begin("no_such_backend", backend=None)
    say("plan_option backend abacus")
    qkvo()
    finish()
    begin("shapes_differ", "d of K is not that of Q")
    qkvo()
    tensor(K, "f32", [1, 2, 7, 4])
    finish()
    begin("types_differ")
    qkvo()
    tensor(V, "f64", [1, 2, 7, 8])
    finish()
    begin("heads_do_not_divide")
    qkvo(hq=3, hkv=2)
    finish()
    begin("no_alignment", "causal must say where i = j lies")
    qkvo()
    say("set features", CAUSAL)
    finish("features", "plan", "attend")
    begin("unknown_feature")
    qkvo()
    say("set features", 1 << 60)
    finish()
    begin("unsupported", "the cpu backend draws no dropout")
    qkvo()
    say("set dropout_p 0.5")
    tensor(PHILOX, "u64", [2], [7, 0])
    finish("features", "plan", "attend")
    begin("out_of_memory", "the workspace fits, what the session holds beside it does not", backend="reference")
    say("option max_memory 300")
    finish("model op_graph.fbs", "session")
    for index, shape in enumerate(([1, 2, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4])):
        say("input", index, "f32", shape_text(shape), pack("f32", normal(shape)))
    finish("run")
    begin("bad_indices", "a CSR column past the end is found when it runs")
    qkvo(sq=3, skv=5)
    say("set mask_block_q 1")
    say("set mask_block_kv 1")
    tensor(INDPTR, "i32", [1, 1, 4], [0, 2, 2, 5])
    tensor(INDICES, "i32", [5], [0, 3, 1, 2, 99])
    finish()
    begin("flat_mismatch", backend=None)
    qkvo(hq=3, hkv=2)
    say("flat 0 0 0")
    begin("flat_bad_causal", backend=None)
    qkvo()
    say("flat 0 7 0")
    begin("flat_bad_layout", backend=None)
    qkvo()
    say("flat 2 0 0")
    begin("files", backend=None)
    finish("check op_graph.fbs", "check_bytes op_graph.fbs", "check damaged.fbs", "check_bytes damaged.fbs",
           "model damaged.fbs", "model_bytes damaged.fbs", "session", "run", "model conformance.txt", "session")


def models():
    begin("op_graph", backend="cpu")
    finish("model op_graph.fbs", "session", "run")
    for index, shape in enumerate(([1, 2, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4])):
        say("input", index, "f32", shape_text(shape), pack("f32", normal(shape)))
    finish("run", "run", "explain")
    say("input 1 f32", "1,1,5,4", pack("f32", normal([1, 1, 5, 4])))
    finish("run")
    say("input 0 f64", "1,2,3,4", pack("f64", normal([1, 2, 3, 4])))
    say("input 0 f32", "1,2,3,5", pack("f32", normal([1, 2, 3, 5])))
    say("input 7 f32", "1,2,3,4", pack("f32", normal([1, 2, 3, 4])))
    finish("run")
    begin("op_graph_bound", backend="cpu")
    say("plan_option trace true")
    finish("model_bytes op_graph.fbs", "session")
    say("place 4")
    for index, shape in enumerate(([1, 2, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4])):
        say("bind input", index, "f32", shape_text(shape), pack("f32", normal(shape)))
    say("bind output 0 f32 1,2,3,4")
    finish("run", "trace", "tick {\"ts\":1}", "snapshot")
    begin("metabolic")
    finish("model metabolic.fbs", "session")
    say('tick {"ts":1,"targets":[{"id":"door","salience":0.9},{"id":"lamp","salience":0.6},{"id":"hum","salience":0.3}]}')
    say('tick {"ts":2,"state":"DREAM","targets":[{"id":"door","salience":0.9},{"id":"lamp","salience":0.6}]}')
    finish("snapshot")
    say('tick {"ts":3,"state":"crisis","targets":[{"id":"door","salience":0.99},{"id":"lamp","salience":0.2}]}')
    finish("restore")
    say('tick {"ts":3,"state":"crisis","targets":[{"id":"door","salience":0.99},{"id":"lamp","salience":0.2}]}')
    say('tick {"ts":2,"targets":[]}')
    say('tick {"ts":4,"targets":[{"id":"door","salience":1.4}]}')
    say('tick {"ts":4,"targts":[]}')
    say('tick {"ts":4,')
    say('tick')
    say('tick {"ts":4,"targets":[{"id":"Tür","salience":0.5}]}')
    finish("restore_damaged")
    say('tick {"ts":5,"state":"REST","targets":[]}')
    say('tick {"ts":6,"state":"WAKE","targets":[{"id":"a","salience":0.25},{"id":"b","salience":0.5}]}')
    say('tick {"ts":7,"state":"FOCUS","targets":[{"id":"a","salience":0.25},{"id":"b","salience":0.5}]}')
    begin("fusion")
    finish("model fusion.fbs", "session")
    say('tick {"ts":4.1,"goal":[1,0,0,0],"sensors":[{"id":"vision","goal_relevance":0.9,"salience":0.8,"trust":0.9,'
        '"window":[[0.5,0.25,0,1]]},{"id":"imu","salience":0.3,"trust":0.95,"window":[[0,1,0.5,-0.5]],"age":[0]}]}')
    say('tick {"ts":4.2,"sensors":[]}')
    begin("expert")
    finish("model expert.fbs", "session")
    say("input 0 f32", "4,4", pack("f32", normal([4, 4])))
    say('tick {"ts":0.5,"router_logits":[1.2,0.4,-0.3,0.9],"trust":[0.5,0.9,0.7,0.2],"context_embedding":[1,0,-1,0.5],'
        '"loaded":[0,1,3]}')
    finish("snapshot")


def masks_and_gate():
    begin("mincut", backend=None)
    for seq, parts in ((1, 1), (10, 3), (64, 4)):
        say("mincut_mask", seq, parts)
        say("mincut_csr", seq, parts, 1, 1)
        say("mincut_csr", seq, parts, 4, 8)
        say("mincut_blocks", seq, parts, 4, 8)
    say("mincut_mask 3 4")
    say("mincut_csr 0 1 1 1")
    say("mincut_blocks 8 2 0 4")
    begin("gate", backend=None)
    for fields in ("lambda=100 lambda_prev=100", "lambda=100 lambda_prev=100 boundary_edges=21",
                   "lambda=40 lambda_prev=100", "lambda=29 lambda_prev=29",
                   "flags=4 spike_fired=1 spike_rate_q15=16385 lambda=100", "flags=2 lambda=100", "flags=4 lambda=100",
                   "flags=1", "lambda=100 policy.lambda_min=101 policy.safe.window=9", "flags=64"):
        say("gate", *fields.split())
        say("gate_apply 1")
    begin("gate_policy", "a number of its own in every field: what is at the limits, then past each of them", backend=None)
    limits = {"lambda_min": 75, "drop_ratio_q15_max": 8192, "boundary_edges_max": 5,
              "boundary_concentration_q15_max": 1000, "partitions_max": 3, "spike_rate_q15_max": 2000}
    tiers = {"normal": (7, 65, 17), "reduced": (4, 33, 9), "safe": (2, 10, 6)}
    policy = [f"policy.{field}={limit}" for field, limit in limits.items()]
    policy += [f"policy.{tier}.{field}={number}" for tier, numbers in tiers.items()
               for field, number in zip(("layers", "sequence", "window"), numbers)]
    within = {"flags": 4, "lambda": 75, "lambda_prev": 100, "boundary_edges": 5, "boundary_concentration_q15": 1000,
              "partition_count": 3, "spike_fired": 1, "spike_rate_q15": 2000}
    for past in ({}, {"lambda": 74}, {"lambda_prev": 101}, {"boundary_edges": 6}, {"boundary_concentration_q15": 1001},
                 {"partition_count": 4}, {"spike_rate_q15": 2001}):
        say("gate", *(f"{field}={number}" for field, number in (within | past).items()), *policy)
        say("gate_apply 1")


def accuracy():
    begin("accuracy", "asked for by an option, and there after a run", backend="cpu")
    finish("model op_graph.fbs", "session", "accuracy")
    say("plan_option accuracy_report true")
    finish("session", "accuracy")
    for index, shape in enumerate(([1, 2, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4])):
        say("input", index, "f32", shape_text(shape), pack("f32", normal(shape)))
    finish("run", "accuracy")
    say("input 0 f32", "1,2,3,4", pack("f32", [float("nan")] * 24))
    finish("run", "accuracy")


def scenarios():
    begin("scenarios", backend=None)
    for name in ("versions", "status_names", "free_orders", "closed", "log", "log_throws", "cancel_callback",
                 "cancel_throws", "cancel_thread", "wrong_major", "missing_model", "zero_copy", "denormals"):
        say("scenario", name)
    begin("native_scenarios", backend=None)
    say("scenario backends")
    say("scenario native")


def main():
    for part in (attention_in_every_type, every_feature, fields_told_apart, memory_as_it_comes, flat, refusals, models,
                 masks_and_gate, quantizer, accuracy, scenarios):
        part()
    text = "\n".join(lines) + "\n"
    if "--check" in sys.argv:
        if PATH.read_text() != text:
            sys.exit(f"{PATH.name} is not as {pathlib.Path(__file__).name} writes it; run that")
    else:
        PATH.write_text(text)
    print(f"{sum(line.startswith('case ') for line in lines)} cases, {len(text)} bytes")


if __name__ == "__main__":
    main()
