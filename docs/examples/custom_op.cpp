// A differentiable function of one's own, a smooth absolute value, with its first and second
// derivatives from one backward.
#include <weft/weft.h>

#include <iostream>
#include <vector>

namespace {

using weft::Tensor;

// log(cosh(x)): |x| - log(2) far from 0, x²/2 near it. Its derivative is tanh(x).
Tensor log_cosh(const Tensor& x) {
  const Tensor size = weft::abs(x.detach());
  const Tensor value = size + weft::log1p(weft::exp(size * -2)) - 0.6931471805599453;
  return weft::record("log_cosh", value.array(), {x}, {weft::Save::input("x", 0)},
                      [](const weft::SavedValues& saved, const Tensor& gradient) {
                        return std::vector<Tensor>{gradient * weft::tanh(saved["x"])};
                      });
}

}  // namespace

int main() {
  const std::vector<double> values{-800, -1, 0, 0.5, 800};
  const Tensor x = Tensor::from(values, {5}, {.requires_grad = true});
  const Tensor first = weft::grad({weft::sum(log_cosh(x))}, {x}, {}, {.create_graph = true})[0];
  const Tensor second = weft::grad({weft::sum(first)}, {x})[0];
  std::cout << "values " << log_cosh(x) << "\nfirst " << first << "\nsecond " << second << '\n';

  // A value that the backward needs is checked: changing it in place is an error that names the function.
  Tensor parameter = weft::ones({2}, {.requires_grad = true});
  const Tensor loss = weft::sum(log_cosh(parameter));
  {
    const weft::NoGrad off;
    parameter.mul_(2);
  }
  try {
    loss.backward();
  } catch (const weft::AutogradError& error) {
    std::cout << error.what() << '\n';
  }
}
