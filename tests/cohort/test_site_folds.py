import itertools

import numpy as np
import pandas as pd
import pytest

from histokeras.cohort.allocate import Group
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.site_folds import fold_sites
from histokeras.cohort.split import read_split, split_patients, write_split
from histokeras.errors import ConfigError, TableError


def cohort_of(counts: dict[str, tuple[int, int]]) -> tuple[list[Group], dict[str, str]]:
    """Return patients of sites with so many of class a and of class b."""
    patients = [
        (f"{site}/{label}/{i}", label, site)
        for site, row in counts.items()
        for label, n in zip("ab", row, strict=True)
        for i in range(n)
    ]
    groups = [Group(name, (label,)) for name, label, _ in patients]
    return groups, {name: site for name, _, site in patients}


def deviation(counts: np.ndarray, placed: tuple[int, ...], folds: int) -> float:
    """Return the summed distance from even shares; infinite where a class lacks in a fold."""
    rows = np.column_stack([counts, counts.sum(axis=1)])
    held = np.array([rows[np.array(placed) == fold].sum(axis=0) for fold in range(folds)])
    off = float(np.abs(held - rows.sum(axis=0) / folds).sum())
    return off if held.all() else np.inf


def random_counts(seed: int, n_sites: int, most: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most, size=(n_sites, 2))


def table(n_sites: int = 9, column: str | None = "site") -> pd.DataFrame:
    rows = [
        (f"TCGA-{s:02d}-{p:04d}", "ab"[p % 2], f"Hôpital, №{s}\n\"'=1")
        for s in range(n_sites)
        for p in range(2 + s)
    ]
    made = pd.DataFrame(rows, columns=["patient_id", "label", "site"])
    return made.rename(columns={"site": column}) if column else made.drop(columns="site")


def sites_per_fold(split_table: pd.DataFrame) -> pd.Series:
    return split_table.groupby(split_table["patient_id"].str[5:7])["fold"].nunique()


def test_a_hand_made_case_is_exactly_even() -> None:
    # By hand: 4+2, 3+3 and 5+1 of class a, 1 of b each: 6 and 2 a fold.
    counts = {"A": (4, 1), "B": (3, 1), "C": (5, 1), "D": (2, 1), "E": (3, 1), "F": (1, 1)}
    found = fold_sites(*cohort_of(counts), 3)
    assert found.deviation == found.bound == 0
    together = {frozenset(s for s in counts if found.folds[s] == f) for f in range(3)}
    assert together == {frozenset("AD"), frozenset("BE"), frozenset("CF")}


@pytest.mark.parametrize("seed", range(4))
def test_tiny_cases_equal_brute_force(seed: int) -> None:
    counts = random_counts(seed, 6, 12) + 1
    names = {f"s{i}": (int(a), int(b)) for i, (a, b) in enumerate(counts)}
    best = min(deviation(counts, p, 3) for p in itertools.product(range(3), repeat=6))
    found = fold_sites(*cohort_of(names), 3)
    assert found.deviation == pytest.approx(best, abs=1e-5)
    assert found.bound == pytest.approx(best, abs=1e-5)
    placed = tuple(found.folds[name] for name in names)
    assert deviation(counts, placed, 3) == pytest.approx(best)


def test_the_search_alone_is_near_what_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = random_counts(7, 14, 30)
    case = cohort_of({f"s{i}": (int(a), int(b)) for i, (a, b) in enumerate(counts)})
    proved = fold_sites(*case, 3)
    monkeypatch.setattr("histokeras.cohort.site_folds.MOST_PLACES", 0)
    searched = fold_sites(*case, 3)
    # 2 * r * (3 - r) / 3 for remainders of each class and of all.
    left = np.append(counts.sum(axis=0), counts.sum()) % 3
    assert searched.bound == pytest.approx((2 * left * (3 - left) / 3).sum(), abs=1e-5)
    assert searched.bound <= proved.bound <= proved.deviation <= searched.deviation
    # 2 % of the patients.
    assert searched.deviation - proved.bound <= 0.02 * len(case[0])


@pytest.mark.parametrize("column", ["site", "Tissue Source Site", None])
def test_no_site_is_in_two_folds_whatever_its_name(column: str | None) -> None:
    source = table(column=column)
    split = split_patients(source, target="label", folds=3, preserve_site=True)
    assert (sites_per_fold(split.table) == 1).all()
    assert split.sites is not None
    assert split.sites["from"] == (column or "barcode")
    mixed = source.sample(frac=1, random_state=1)
    again = split_patients(mixed, target="label", folds=3, preserve_site=True, seed=5)
    pd.testing.assert_frame_equal(again.table, split.table)


def test_sites_that_differ_in_case_or_blanks_are_one() -> None:
    source = table(column=None)
    names = ["Site A", "site a ", "SITE  A"]
    number = source["patient_id"].str[5:7].astype(int)
    source["site"] = [names[n] if n < 3 else str(n) for n in number]
    split = split_patients(source, target="label", folds=3, preserve_site=True)
    assert split.table[split.table["patient_id"].str[5:7] <= "02"]["fold"].nunique() == 1


def test_the_way_of_splitting_is_signed(tmp_path) -> None:
    path = tmp_path / "folds.csv"
    made = split_patients(table(), target="label", folds=3, preserve_site=True)
    write_split(path, made)
    assert read_split(path).sites == made.sites
    assert "Hôpital" not in path.read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    for old, new in (('"n_sites":9', '"n_sites":8'), ('"sites":{', '"sites":5,"other":{')):
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(TableError) as caught:
            read_split(path)
        assert caught.value.code == "SPLIT_ALTERED"


def test_impossible_folds_list_the_sites() -> None:
    # Class b comes from two sites.
    with pytest.raises(TableError, match=r"'b' there are fewer .*'x' 5, 'a' 3, 'b' 2;") as caught:
        fold_sites(*cohort_of({"x": (3, 2), "y": (3, 1), "z": (3, 0)}), 3)
    assert caught.value.code == "SPLIT_IMPOSSIBLE"


def test_slips_are_refused() -> None:
    with pytest.raises(ConfigError, match="--cv K"):
        split_patients(table(), target="label", preserve_site=True)
    with pytest.raises(ConfigError, match="--stratify"):
        split_patients(table(), folds=3, stratify=["site"], preserve_site=True)
    source = table()
    source.loc[0, "site"] = ""
    with pytest.raises(TableError, match=r"1 of 54 .*first 'TCGA-00-0000'") as caught:
        split_patients(read_cohort(source, target="label"), folds=3, preserve_site=True)
    assert caught.value.code == "SITE_UNKNOWN"


def test_classes_that_cannot_stand_in_each_fold_are_refused() -> None:
    # Each class comes from two of three sites: two folds cannot part all three pairs.
    found = {"x": "ab", "y": "bc", "z": "ca"}
    groups = [Group(site + label, (label,)) for site, both in found.items() for label in both]
    with pytest.raises(TableError, match="no way found to have each class") as caught:
        fold_sites(groups, {group.id: group.id[0] for group in groups}, 2)
    assert caught.value.code == "SPLIT_IMPOSSIBLE"
