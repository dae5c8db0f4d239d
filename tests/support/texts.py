"""Real texts, varied on purpose: code in several languages, prose, Unicode, emoji, white space, over-long."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

SNIPPETS = [
    "hello world",
    "def f(x):\n\treturn x ** 2\n",
    'fn main() {\n    println!("{}", vec![1, 2, 3].iter().sum::<i32>());\n}',
    "SELECT u.id, COUNT(*) FROM users AS u LEFT JOIN orders o ON o.user_id = u.id GROUP BY u.id HAVING COUNT(*) > 3;",
    '#include <stdio.h>\nint main(void) { for (int i = 0; i < 10; ++i) printf("%d\\n", i); return 0; }',
    "const debounce = (fn, ms) => { let t; return (...a) => { clearTimeout(t); t = setTimeout(fn, ms); }; };",
    "public static <T extends Comparable<T>> T max(List<T> xs) { return Collections.max(xs); }",
    'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hi")\n}\n',
    '<div class="card">\n  <h1>{{ title }}</h1>\n  <!-- comment -->\n</div>',
    '#!/usr/bin/env bash\nset -euo pipefail\nfor f in *.txt; do wc -l "$f"; done',
    '{"a": [1, 2.5e-3, null, true], "b": {"c": "\\u00e9"}}',
    "interface Props<T> { items: readonly T[]; onSelect?: (item: T) => void }",
    "class Point\n  attr_reader :x, :y\n  def initialize(x, y) = (@x, @y = x, y)\nend",
    "data Tree a = Leaf | Node (Tree a) a (Tree a) deriving (Show, Functor)",
    "SYSCALL_DEFINE3(read, unsigned int, fd, char __user *, buf, size_t, count)",
    "Привіт, світе! Як справи у цьому чудовому дні?",
    "日本語のテキストを埋め込みます。コードも一緒に。",
    "中文文本嵌入测试：函数返回排序后的列表",
    "مرحبا بالعالم، هذا نص عربي",
    "שלום עולם",
    "สวัสดีชาวโลก",
    "한국어 문장을 임베딩합니다",
    "नमस्ते दुनिया",
    "Ünïcödé àccénts — naïve café, Straße, İstanbul, ﬁ ligature, x² ≠ x₂",
    "e\u0301 decomposed and \u00e9 composed",
    "emoji 🎉👩‍👩‍👧‍👦🏳️‍🌈👍🏽 inside text 🚀",
    "🙂",
    "\t\t\tindented\twith\ttabs\t",
    "line one\n\n\n\nline five\n\n",
    "   \n\t  \n  ",
    "a",
    "…",
    "zero\u200bwidth\u00a0and\u2003wide\u3000spaces",
    "control \x00\x01\x1f characters \x7f and \ufffd",
    "[CLS] [SEP] [MASK] <s> </s> <mask> special looking",
    "https://example.com/a/b?c=d&e=f#g user@example.com C:\\path\\file.txt",
    "0x1F 1_000_000 3.14159 1e-12 0b1010 ½ ٣",
    "snake_case camelCase PascalCase SCREAMING_SNAKE kebab-case",
    "!@#$%^&*()_+-=[]{}|;':\",./<>?`~",
    "x" * 150,
    "word " * 300,
    "= " * 400,
    "数" * 400,
    "🙂" * 300,
    "\n" * 500 + "end",
    "base64: " + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 40,
]


def varied_texts(count: int, seed: int = 0) -> list[str]:
    """`count` different texts: the snippets above, then pieces of 20 to 3,000 characters of files of the Python
    installation (Python, C headers and text)."""
    rng = random.Random(seed)
    texts = list(SNIPPETS)
    folders = [(Path(sysconfig.get_path("stdlib")), "[a-z]*.py"), (Path(sysconfig.get_path("include")), "*.h")]
    folders.append((Path(sysconfig.get_path("purelib")), "*/METADATA"))
    sources = [[p.read_text(encoding="utf-8", errors="replace") for p in sorted(d.glob(g))[:60]] for d, g in folders]
    sources = [files for files in sources if files]
    while len(texts) < count:
        text = rng.choice(rng.choice(sources))
        size = int(20 * 150 ** rng.random())
        start = rng.randrange(max(1, len(text) - size))
        if text[start : start + size].strip() and text[start : start + size] not in texts:
            texts.append(text[start : start + size])
    return texts[:count]
