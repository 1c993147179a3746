import pandas as pd

from histokeras.cohort.categories import category_values
from histokeras.cohort.labels import read_cohort


def units(patients: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"slide_id": [f"{p}_s" for p in patients], "patient_id": patients})


def test_columns_are_found_under_the_names_of_others() -> None:
    patients = [f"P{i}" for i in range(8)]
    table = pd.DataFrame(
        {
            "patient_id": patients,
            "label": ["a", "b"] * 4,
            "Cancer Type": ["lung", "liver", "lung", ""] * 2,
            "hospital": ["north"] * 4 + ["south"] * 4,
        }
    )

    found = category_values(read_cohort(table), units(patients[::-1]))

    assert found["tumour_type"] == ["", "lung", "liver", "lung"] * 2
    assert found["site"] == ["south"] * 4 + ["north"] * 4


def test_the_site_of_a_tcga_patient_is_in_its_barcode() -> None:
    patients = [f"TCGA-{site}-A00{i}" for site in ("A2", "BH") for i in range(3)]
    table = pd.DataFrame({"patient_id": patients, "label": ["a", "b"] * 3})

    assert category_values(read_cohort(table), units(patients)) == {"site": ["A2"] * 3 + ["BH"] * 3}


def test_the_target_a_constant_and_an_id_are_no_categories() -> None:
    patients = [f"P{i}" for i in range(6)]
    table = pd.DataFrame(
        {"patient_id": patients, "tumour_type": ["x", "y"] * 3, "site": [f"S{i}" for i in range(6)]}
    )
    same = table.assign(label=["a", "b"] * 3, tumour_type="x")

    assert category_values(read_cohort(table, target="tumour_type"), units(patients)) == {}
    assert category_values(read_cohort(same), units(patients)) == {}
