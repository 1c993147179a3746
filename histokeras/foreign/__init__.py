"""Guards for files that a stranger may have made: they run no code and fill no memory.

Who reads what, and what stands before it:

- weights, ``.h5`` and ``.keras``: ``kinds``, ``hdf5``, ``archives`` (models/h5_weights.py); Keras
  is only ever asked for ``load_weights`` into a network of our own, never for a model;
- heads and fine-tuned backbones: a card of bounded size (``text``), checked names and numbers,
  then safetensors, whose header the library bounds (models/model_file.py, backbone_file.py);
- feature files, ours and others': ``hdf5`` at every opening, then kind and shape (features/h5.py);
- run folders: ``folders`` (no link out), ``text`` for JSON; names of files in tables count by their
  last part only (runs/gallery.py, report/pictures.py);
- tables: bounded size; Excel: ``archives``, defusedxml, a limit of cells (tables/excel.py);
- GeoJSON and TOML: bounded size and depth, bounded drawing (slides/geojson.py, config.py);
- annotations of ASAP: bounded size, defusedxml without document types (slides/asap.py);
- masks: sizes asked of the header before anything is decoded, bounded text (data/mask_files.py);
- pictures: five formats whatever the name, bounded pixels (slides/plain.py);
- ids: ``files.safe_name`` wherever one becomes a file name; escaped on pages and on the terminal.
"""
