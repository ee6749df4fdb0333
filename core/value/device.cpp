#include "weft/device.h"

#include <charconv>

#include "core/device/backend.h"
#include "weft/error.h"

namespace weft {

Device Device::parse(std::string_view text) {
  if (text == "cpu") return cpu();
  if (text == "cuda") return cuda();
  int index = 0;
  if (text.starts_with("cuda:")) {
    const std::string_view digits = text.substr(5);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size() && index >= 0) return cuda(index);
  }
  throw ValueError("device: '" + std::string(text) + "' is not cpu, cuda or cuda:N");
}

std::string to_string(const Device& device) { return device.is_cpu() ? "cpu" : "cuda:" + std::to_string(device.index); }

void require_device(const Device& device) { static_cast<void>(backend(device)); }

std::string description(const Device& device) { return backend(device).unlocked().description(); }

WorkStatistics work_statistics(const Device& device) { return {.matrix_products = backend(device)->matrix_products()}; }

}  // namespace weft
