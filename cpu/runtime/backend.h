#pragma once

namespace weft {
class Backend;
}

namespace weft::cpu {

/// The CPU's implementation of the device contract; one object, never destroyed.
Backend& backend();

}  // namespace weft::cpu
