#pragma once

#include "core/io/file.h"
#include "weft/io.h"

namespace weft::io {

/// The readers behind load_safetensors and load_npy. Throw FormatError, and whatever the source throws.
TensorFile read_safetensors(Source& source);
Array read_npy(Source& source);

}  // namespace weft::io
