#include "tests/bench/device_figures.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "core/device/backend.h"
#include "weft/weft.h"

namespace weft {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const BackendHandle& backend, const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  backend->synchronize();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median_of_nine(const BackendHandle& backend, const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) seconds.push_back(seconds_of(backend, work));
  std::nth_element(seconds.begin(), seconds.begin() + 4, seconds.end());
  return seconds[4];
}

}  // namespace

nlohmann::ordered_json device_figures(const Device& device) {
  const NoGrad no_grad;
  const auto start = Clock::now();
  const BackendHandle backend = weft::backend(device);
  zeros({1}, {.device = device});
  backend->synchronize();
  const double first_kernel = std::chrono::duration<double>(Clock::now() - start).count();

  const bool gpu = device.is_cuda();
  const std::int64_t n = gpu ? 8192 : 1024;
  const DType dtype = gpu ? DType::bf16 : DType::f32;
  const auto matrix = [&] { return randn({n, n}, {.device = device}).to(dtype); };
  const Tensor a = matrix(), b = matrix();
  backend->synchronize();
  const auto multiply = [&] { matmul(a, b); };
  const double first_product = seconds_of(backend, multiply);
  const double product = median_of_nine(backend, multiply);

  const std::int64_t bytes = gpu ? std::int64_t{1} << 30 : std::int64_t{1} << 26;
  const Array source = randn({bytes / 4}, {.device = device}).array();
  const double copy = median_of_nine(backend, [&] { source.clone(); });
  return {{"what", "device"},
          {"peer", "weft"},
          {"device", to_string(device)},
          {"s_to_first_kernel", first_kernel},
          {"s_of_first_product", first_product},
          {"copy_gb_per_s", 2e-9 * static_cast<double>(bytes) / copy},
          {"product", std::string(name(dtype)) + " " + std::to_string(n)},
          {"tflop_per_s", 2e-12 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / product}};
}

}  // namespace weft
