//! Sets of field paths and their `fieldsV1` form.
