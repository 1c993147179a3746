import pandas as pd

from histokeras.cohort.categories import category_values, patient_categories
from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort


def found_in(table: pd.DataFrame, slides: list[str], target: str = "label") -> dict:
    cohort = read_cohort(table, target=target)
    patients = {name: name.removesuffix("_s") for name in slides if name.endswith("_s")}
    units = pd.DataFrame({"slide_id": slides})
    return category_values(cohort, join_labels(units, cohort, slide_patients=patients))


def slides_of(patients: list[str]) -> list[str]:
    return [f"{name}_s" for name in patients]


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

    found = found_in(table, slides_of(patients[::-1]))

    assert found["tumour_type"] == ["", "lung", "liver", "lung"] * 2
    assert found["site"] == ["south"] * 4 + ["north"] * 4


def test_the_acronym_of_cbioportal_wins_over_the_histology_beside_it() -> None:
    patients = [f"P{i}" for i in range(8)]
    table = pd.DataFrame(
        {
            "PATIENT_ID": patients,
            "label": ["a", "b"] * 4,
            "TUMOR_TYPE": ["ductal", "lobular"] * 4,
            "CANCER_TYPE_ACRONYM": ["BRCA", "OV", "OV", "OV"] * 2,
        }
    )

    found = found_in(table, slides_of(patients))

    assert found == {"tumour_type": ["BRCA", "OV", "OV", "OV"] * 2}


def test_the_site_of_a_tcga_patient_is_in_its_barcode() -> None:
    patients = [f"TCGA-{site}-A00{i}" for site in ("A2", "BH") for i in range(3)]
    table = pd.DataFrame({"patient_id": patients, "label": ["a", "b"] * 3})

    assert found_in(table, slides_of(patients)) == {"site": ["A2"] * 3 + ["BH"] * 3}


def test_slides_of_other_names_find_their_row() -> None:
    slides = [f"TCGA-{site}-A00{i}-01Z-00-DX1" for site in ("A2", "BH") for i in range(3)]
    table = pd.DataFrame(
        {
            "slide_id": [f"{name}.svs" for name in slides],
            "label": ["a", "b"] * 3,
            "tumour_type": ["x", "x", "x", "y", "y", "y"],
            "center": [""] * 6,
        }
    )
    uuid = ".0A1B2C3D-0000-0000-0000-00000000000"
    named = [f"{name}{uuid}{i}" for i, name in enumerate(slides)]

    # An empty column does not hide what the barcodes tell.
    assert found_in(table, named) == {
        "tumour_type": ["x"] * 3 + ["y"] * 3,
        "site": ["A2"] * 3 + ["BH"] * 3,
    }


def test_the_target_a_constant_and_an_id_are_no_categories() -> None:
    patients = [f"P{i}" for i in range(6)]
    table = pd.DataFrame(
        {"patient_id": patients, "tumour_type": ["x", "y"] * 3, "site": [f"S{i}" for i in range(6)]}
    )
    same = table.assign(label=["a", "b"] * 3, tumour_type="x")

    assert found_in(table, slides_of(patients), target="tumour_type") == {}
    assert found_in(same, slides_of(patients)) == {}


def test_a_patient_of_two_types_belongs_to_neither() -> None:
    patients = ["P1", "P1", "P2", "P2", "P3", "P4"]
    found = {"tumour_type": ["x", "y", "x", "x", "", "NA"], "site": ["", "A", "A", "", "", "B"]}

    assert patient_categories(patients, found) == {
        "tumour_type": {"P1": "", "P2": "x", "P3": "", "P4": "NA"},
        "site": {"P1": "A", "P2": "A", "P3": "", "P4": "B"},
    }
