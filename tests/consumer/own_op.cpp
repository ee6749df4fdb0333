// A stranger's function with a backward of its own: log(cosh(x)), whose first derivatives are tanh(x) and 1 -
// tanh(x)^2.
#include <weft/function.h>
#include <weft/weft.h>

#include <iostream>
#include <string>
#include <vector>

namespace {

weft::Tensor log_cosh(const weft::Tensor& x) {
  const weft::Tensor values = x.detach();
  return weft::record("log_cosh", weft::log((weft::exp(values) + weft::exp(-values)) / 2).array(), {x},
                      {weft::Save::input("x", 0)}, [](const weft::SavedValues& saved, const weft::Tensor& gradient) {
                        return std::vector<weft::Tensor>{gradient * weft::tanh(saved["x"])};
                      });
}

double difference(const weft::Tensor& a, const weft::Tensor& b) { return weft::max(weft::abs(a - b)).item<double>(); }

}  // namespace

int main() {
  weft::Tensor x = weft::linspace(-3, 3, 25, {.dtype = weft::DType::f64});
  x.set_requires_grad(true);
  const weft::Tensor first = weft::grad({weft::sum(log_cosh(x))}, {x}, {}, {.create_graph = true})[0];
  const weft::Tensor second = weft::grad({weft::sum(first)}, {x})[0];
  const weft::Tensor tanh = weft::tanh(x.detach());
  const double first_difference = difference(first.detach(), tanh);
  const double second_difference = difference(second, 1 - tanh * tanh);

  // A value that the backward needs and that was changed since is an error, which names the function.
  bool noticed = false;
  weft::Tensor y = weft::ones({3}, {.dtype = weft::DType::f64});
  y.set_requires_grad(true);
  const weft::Tensor changed = weft::sum(log_cosh(y));
  weft::Array values = y.array();
  values.fill(2);
  try {
    changed.backward();
  } catch (const weft::AutogradError& error) {
    noticed = std::string(error.what()).find("log_cosh") != std::string::npos;
  }
  std::cout << "first " << first_difference << ", second " << second_difference << ", change noticed " << noticed
            << '\n';
  return first_difference < 1e-15 && second_difference < 1e-15 && noticed ? 0 : 1;
}
