"""Law: a file's text is what its author wrote, whatever its encoding; what cannot be read with confidence is named."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.indexing.decode import NotText, decode

CODE = (
    "def total(prices, rate):\n    # {}\n    return sum(prices) * rate\n\n\nclass Cart:\n    '''{}'''\n    name = 'x'\n"
)
WRITTEN = [
    ("Сумма цен с учётом налога", "Корзина покупателя: здесь товары", ["cp1251", "koi8-r", "cp866", "iso8859-5"]),
    ("Сума цін з урахуванням податку", "Кошик покупця: тут зберігаються товари їжі", ["cp1251", "koi8-u", "cp1125"]),
    ("税込みの合計金額を計算する", "買い物かご:商品を保存するクラス", ["shift_jis", "cp932", "euc-jp", "iso2022_jp"]),
    ("计算含税总价格", "购物车类,用于保存商品", ["gbk", "gb18030", "gb2312"]),
    ("計算含稅總價格", "購物車類別,用於儲存商品", ["big5"]),
    ("세금을 포함한 합계 금액을 계산합니다", "장바구니: 상품을 저장하는 클래스", ["euc-kr", "cp949"]),
    ("Calcule le total, arrondi à l'unité près", "Le panier : les éléments déjà choisis", ["latin-1", "cp1252"]),
    ("Summe der Preise für übliche Länder", "Warenkorb des Käufers: gewählte Stücke", ["latin-1", "cp1252"]),
    ("Suma cen z podatkiem, zaokrąglona w górę", "Koszyk klienta: rzeczy, żółć", ["cp1250", "iso8859-2"]),
    ("Το σύνολο των τιμών με τον φόρο", "Το καλάθι του πελάτη", ["cp1253", "iso8859-7"]),
    ("Vergi dahil toplam fiyat, yuvarlanmış", "Müşterinin sepeti: seçilen ürünler", ["cp1254", "iso8859-9"]),
    ("סכום המחירים כולל מס", "עגלת הקניות של הלקוח", ["cp1255"]),
    ("مجموع الأسعار مع الضريبة", "سلة مشتريات العميل", ["cp1256"]),
]
WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8", "utf-16", "utf-32", "utf-8-sig"]
CASES = [(CODE.format(*texts), encoding) for *texts, own in WRITTEN for encoding in [*own, *WIDE]]


@pytest.mark.parametrize(("text", "encoding"), CASES, ids=[f"{n}-{case[1]}" for n, case in enumerate(CASES)])
def test_a_source_file_is_read_in_the_encoding_that_it_has(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "gbk", "euc-kr"])
def test_what_is_not_ascii_may_stand_far_behind(encoding):
    """Regression: only the first 64 KiB were looked at, and a longer file of ASCII with a late comment was skipped."""
    text = "x = 1\n" * 20_000 + {"cp1251": "# сумма всех цен\n", "euc-kr": "# 합계 금액을 계산합니다\n"}.get(
        encoding, "# 税込合計金額計算\n" if encoding == "shift_jis" else "# 计算含税总价格\n"
    )
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    "text", ["x = 1  # año\n", "// © 2003 Müller\nint x = 1;\n", "// José Núñez, 25°C ± 3 µm\nx();\n"]
)
def test_single_accented_letters_in_a_file_of_ascii_are_latin(text):
    assert decode((text + "int main() { return 0; }\n" * 9).encode("latin-1")).startswith(text)


@pytest.mark.parametrize("text", ["Просто текст без латиницы.\n" * 20, "これは日本語だけの文章です。\n" * 30])
@pytest.mark.parametrize("encoding", WIDE)
def test_wide_encodings_need_no_latin_letters(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("start", [b"", b"\x7fELF", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x00\x01", b"\xff\xfe"])
def test_bytes_of_no_text_are_refused_by_name(start):
    pick = random.Random(5)
    for size in (256, 4096, 50_000):
        with pytest.raises(NotText):
            decode(start + pick.randbytes(size))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_end_in_another_exception_or_in_replacement_characters(data):
    try:
        text = decode(data)
    except NotText:
        return
    assert "\ufffd" not in text or any(held in data for held in ("\ufffd".encode(), b"\xfd\xff", b"\xff\xfd"))


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), min_size=1))
def test_utf8_is_never_read_as_anything_else(text):
    assert decode(text.encode()) == text.removeprefix("\ufeff")
