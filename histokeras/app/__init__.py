"""The web page of one run: a tile, a slide, the patients. Only ``page`` knows Streamlit."""
