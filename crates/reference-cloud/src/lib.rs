//! A small real receiver of the sync API.
