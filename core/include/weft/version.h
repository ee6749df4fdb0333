#pragma once

/// The version of these headers. The build and the names of the installed library take it from here.
#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0

/// The version in words, "MAJOR.MINOR.PATCH".
#define WEFT_VERSION "0.1.0"
