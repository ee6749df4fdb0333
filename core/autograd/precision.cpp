#include "weft/precision.h"

namespace weft {

namespace {

thread_local Precision current = Precision::fp32;

}  // namespace

Precision precision() { return current; }

PrecisionGuard::PrecisionGuard(Precision precision) : previous_(current) { current = precision; }
PrecisionGuard::~PrecisionGuard() { current = previous_; }

}  // namespace weft
