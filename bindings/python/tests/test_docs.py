"""Every piece of code of docs/python.md, and every "after" of docs/migration.md, run as they stand, and held against
float64 or against what the page says of them. Examples run as programs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from typing import Any, Dict, List

import numpy as np

import sage_engine as sage
from support import ROOT, causal_mask, needed, normal, run_python, softmax_attention

MODELS = ("expert", "metabolic", "fusion", "gqa_expert_attention", "gqa_layer")


def blocks(page: str, heading: str) -> List[str]:
    """The Python code under a heading, up to the next heading of any level."""
    text = "\n" + (ROOT / "docs" / page).read_text(encoding="utf-8")
    start = text.index(f"\n{heading}\n") + len(heading) + 2
    end = re.search(r"^#{1,4} ", text[start:], re.M)
    section = text[start : start + end.start()] if end else text[start:]
    return re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)


class Pages(unittest.TestCase):
    folder: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        shutil.copy(ROOT / "examples" / "models" / "gqa_layer.safetensors", cls.folder)
        for model in MODELS:
            subprocess.run(
                [
                    needed("SAGE_TEST_TOOL"),
                    "convert",
                    str(ROOT / "examples" / "models" / f"{model}.json"),
                    os.path.join(cls.folder, f"{model}.fbs"),
                ],
                check=True,
                stderr=subprocess.DEVNULL,
            )

    def setUp(self) -> None:
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def run_code(self, code: str, **given: Any) -> Dict[str, Any]:
        names: Dict[str, Any] = dict(given)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "page", "exec"), names)
        names["printed"] = printed.getvalue()
        return names

    def close(self, got: Any, want: Any) -> None:
        self.assertEqual(got.shape, want.shape)
        np.testing.assert_allclose(got, want, atol=4e-6)

    def test_quick_start(self) -> None:
        (code,) = blocks("python.md", "# From Python")
        names = self.run_code(code)
        q = names["q"]
        i, j = np.arange(512)[:, None], np.arange(512)[None, :]
        self.close(names["o"], softmax_attention(q, q, q, mask=(j <= i) & (j >= i - 127)))
        self.assertIn("FOCUS", names["printed"])

    def test_P15_from_scaled_dot_product_attention(self) -> None:
        before, after = blocks("migration.md", "## F.scaled_dot_product_attention")
        self.assertIn("import torch", before)
        q, k, v = normal((2, 12, 5, 64), 1), normal((2, 4, 7, 64), 2), normal((2, 4, 7, 64), 3)
        mask = np.random.default_rng(4).random((2, 1, 5, 7)) > 0.3
        names = self.run_code(after, q=q, k=k, v=v, mask=mask)
        self.close(names["o"], softmax_attention(q, k, v, 0.125, mask))
        self.close(names["causal"], softmax_attention(q, k, v, mask=causal_mask(5, 7)))

    def test_P15_from_flash_attn_func(self) -> None:
        before, after, by_attention = blocks("migration.md", "## flash_attn_func")
        self.assertIn("from flash_attn import", before)
        self.assertEqual(before.split("\n", 1)[1], after.split("\n", 1)[1], "only the import changes")
        q, k, v = normal((2, 5, 12, 64), 1), normal((2, 7, 4, 64), 2), normal((2, 7, 4, 64), 3)
        heads_first = [x.transpose(0, 2, 1, 3) for x in (q, k, v)]
        want = softmax_attention(*heads_first, 0.125, causal_mask(5, 7, bottom_right=True)).transpose(0, 2, 1, 3)
        self.close(self.run_code(after, q=q, k=k, v=v)["o"], want)
        self.close(self.run_code(by_attention, q=q, k=k, v=v)["o"], want)

    def test_P15_dropping_the_change_of_layout_gives_another_answer(self) -> None:
        q = k = v = normal((2, 6, 6, 64), 1)  # tokens and heads of one length: no shape is wrong
        right = sage.flash_attn_func(q, k, v, causal=True, softmax_scale=0.125)
        dropped = sage.attention(q, k, v, is_causal=True, scale=0.125)
        self.assertEqual(dropped.shape, right.shape)
        self.assertGreater(np.abs(dropped - right).max(), 0.1)

    def test_P15_from_packed_sequences(self) -> None:
        before, after = blocks("migration.md", "### Packed sequences")
        self.assertEqual(before.split("\n", 1)[1], after.split("\n", 1)[1], "only the import changes")
        q, k, v = normal((8, 12, 64), 1), normal((9, 4, 64), 2), normal((9, 4, 64), 3)
        starts_q, starts_k = np.array([0, 3, 8], np.int32), np.array([0, 4, 9], np.int32)
        got = self.run_code(
            after, q=q, k=k, v=v, cu_seqlens_q=starts_q, cu_seqlens_k=starts_k, max_seqlen_q=5, max_seqlen_k=5
        )["o"]
        for n in range(2):
            at_q, at_k = slice(*starts_q[n : n + 2]), slice(*starts_k[n : n + 2])
            part = [x.transpose(1, 0, 2) for x in (q[at_q], k[at_k], v[at_k])]
            mask = causal_mask(part[0].shape[1], part[1].shape[1], bottom_right=True)
            self.close(got[at_q], softmax_attention(*part, mask=mask).transpose(1, 0, 2))

    def test_P15_from_the_expert_selector(self) -> None:
        _, after = blocks("migration.md", "### TrustWeightedExpertAttention, TrustBasedExpertSelector")
        random = np.random.default_rng(5)
        logits, trust = random.standard_normal(128), random.random(128)
        given = {
            "expert_embeddings": normal((128, 768), 1),
            "router_logits": logits,
            "trust": trust,
            "context_embedding": normal((768,), 2),
        }
        result = self.run_code(after, **given)["result"]
        self.assertEqual(len(result["ids"]), 8)
        self.assertEqual(result["context"], "math")
        self.assertAlmostEqual(sum(result["gates"]), 1)
        self.assertEqual(result["router_scores"], [logits[n] for n in result["ids"]])
        # Without content the ranking is the legacy formula's, 0.3 * router + 0.7 * trust.
        given["context_embedding"] = np.zeros(768, np.float32)
        legacy = self.run_code(after, **given)["result"]
        self.assertEqual(legacy["ids"], list(np.argsort(-(0.3 * logits + 0.7 * trust), kind="stable")[:8]))

    def test_P15_from_the_metabolic_allocator(self) -> None:
        _, after = blocks("migration.md", "### MetabolicAttentionAllocator")
        names = self.run_code(after, door=normal((8,), 1), lamp=normal((8,), 2))
        self.assertEqual(list(names["shares"]), ["door", "lamp"])
        self.assertAlmostEqual(sum(names["shares"].values()), 100)
        self.assertGreater(names["shares"]["door"], names["shares"]["lamp"])
        self.assertEqual(names["record"]["state"], sage.MetabolicState.FOCUS)

    def test_P15_from_the_sensor_fusion(self) -> None:
        _, after = blocks("migration.md", "### MultiSensorFusionAttention")
        sensors = [("vision", normal((3, 8), 1), 0.8, 0.9), ("imu", normal((1, 8), 2), 0.3, 0.95)]
        names = self.run_code(after, goal_context=normal((8,), 3), sensors=sensors)
        self.assertEqual(len(names["fused"]), 8)
        self.assertEqual(set(names["weights"]), {"vision", "imu"})
        self.assertAlmostEqual(sum(names["weights"].values()), 1)

    def test_P15_from_the_layers(self) -> None:
        _, after = blocks("migration.md", "### FlashAttentionLayer, GQAExpertAttention")
        x = normal((2, 6, 48), 1)
        names = self.run_code(after, x=x)
        w = read_safetensors(os.path.join(self.folder, "gqa_layer.safetensors"))
        q, k, v = (x.astype(np.float64) @ w[f"attn.{name}_proj.weight"].T.astype(np.float64) for name in "qkv")
        heads = [a.reshape(2, 6, -1, 4).transpose(0, 2, 1, 3) for a in (q, k, v)]
        o = softmax_attention(*heads, mask=causal_mask(6, 6)).transpose(0, 2, 1, 3).reshape(2, 6, 48)
        self.close(names["y"], o @ w["attn.o_proj.weight"].T)
        self.assertIn("chosen", names["printed"])

    def test_P15_every_section_of_the_page_is_run(self) -> None:
        text = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
        headings = re.findall(r"^#{2,3} (.+)$", text, re.M)
        self.assertEqual(len(headings), 8)
        self.assertEqual(text.count("```python"), 15, "a new piece of code needs a test here")

    def test_examples(self) -> None:
        for program, arguments, words in (
            ("attention.py", [], "ran on"),
            ("ticks.py", [os.path.join(self.folder, "metabolic.fbs")], "CRISIS: door 100.0"),
        ):
            run = run_python(ROOT / "examples" / "python" / program, *arguments)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            self.assertIn(words, run.stdout)


def read_safetensors(path: str) -> Dict[str, Any]:
    with open(path, "rb") as stream:
        data = stream.read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[8 + size :][slice(*at["data_offsets"])], "<f4").reshape(at["shape"])
        for name, at in header.items()
    }


if __name__ == "__main__":
    unittest.main()
