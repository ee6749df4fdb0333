#include <algorithm>
#include <cstdint>
#include <string>

#include "core/device/order.h"
#include "cpu/array/nest.h"
#include "cpu/runtime/backend.h"
#include "cpu/runtime/threads.h"
#include "weft/error.h"

namespace weft::cpu {

namespace {

bool comes_before(const SortEntry& a, const SortEntry& b) { return a.key != b.key ? a.key < b.key : a.place < b.place; }

/// The axis that is sorted: its size, how many places are taken of it, and its strides in the indices and in x.
struct SortAxis {
  std::int64_t size, taken, indices, x;
};

/// Room for the entries of one line, which may be longer than the memory: the line of an expanded x takes none itself.
class LineEntries {
 public:
  /// Throws OutOfMemoryError.
  LineEntries(CpuBackend& backend, std::int64_t size)
      : backend_(backend), bytes_(entries_bytes(size)), entries_(static_cast<SortEntry*>(backend.allocate(bytes_))) {}
  ~LineEntries() { backend_.deallocate(entries_, bytes_); }
  LineEntries(const LineEntries&) = delete;
  LineEntries& operator=(const LineEntries&) = delete;

  SortEntry* get() const { return entries_; }

 private:
  CpuBackend& backend_;
  std::size_t bytes_;
  SortEntry* entries_;
};

/// Sorts the first places of one line by its keys, inverted where the order descends.
template <class T>
void argsort_line(const SortAxis& axis, bool descending, std::int64_t* indices, const T* x, SortEntry* entries) {
  for (std::int64_t j = 0; j < axis.size; ++j) {
    const std::int64_t key = scalar::order_key(x[j * axis.x]);
    entries[j] = {descending ? ~key : key, j};
  }
  if (axis.taken < axis.size / 8) {  // below that a heap of the places that are taken is faster
    std::partial_sort(entries, entries + axis.taken, entries + axis.size, comes_before);
  } else {
    std::sort(entries, entries + axis.size, comes_before);
  }
  for (std::int64_t j = 0; j < axis.taken; ++j) indices[j * axis.indices] = entries[j].place;
}

template <class T>
void argsort_of(CpuBackend& backend, const ConstView& x, int at, bool descending, const View& indices) {
  const SortAxis axis{x.shape[at], indices.shape[at], indices.strides[at], x.strides[at]};
  Shape lines = x.shape;
  lines[at] = 1;
  if (axis.taken == 0) return;
  View results = indices;
  ConstView elements = x;
  results.shape = elements.shape = lines;
  const Nest nest(lines, {results, elements});
  constexpr std::int64_t kGrain = 2048;  // elements of a task: sorting one takes several times a copy's time
  nest.for_tiles_in_parallel(
      [&](const Tile& tile) {
        const LineEntries entries(backend, axis.size);
        for (std::int64_t row = 0; row < tile.rows; ++row) {
          for (std::int64_t i = 0; i < tile.n; ++i) {
            argsort_line(axis, descending,
                         static_cast<std::int64_t*>(tile.data[0]) + row * tile.row_stride[0] + i * tile.stride[0],
                         static_cast<const T*>(tile.data[1]) + row * tile.row_stride[1] + i * tile.stride[1],
                         entries.get());
          }
        }
      },
      std::max<std::int64_t>(1, kGrain / axis.size));
}

}  // namespace

void CpuBackend::argsort(const ConstView& x, int axis, bool descending, const View& indices) {
  const DenormalMode keeps(false);
  switch (x.dtype) {
    case DType::boolean:
      return argsort_of<bool>(*this, x, axis, descending, indices);
    case DType::u8:
      return argsort_of<std::uint8_t>(*this, x, axis, descending, indices);
    case DType::i32:
      return argsort_of<std::int32_t>(*this, x, axis, descending, indices);
    case DType::i64:
      return argsort_of<std::int64_t>(*this, x, axis, descending, indices);
    case DType::f32:
      return argsort_of<float>(*this, x, axis, descending, indices);
    case DType::f64:
      return argsort_of<double>(*this, x, axis, descending, indices);
    default:
      throw DTypeError("sort: no kernel for dtype " + std::string(name(x.dtype)));
  }
}

}  // namespace weft::cpu
