//! What docs/ lists of the tables.
