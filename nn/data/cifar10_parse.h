#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "weft/source.h"

namespace weft::nn {

inline constexpr std::size_t kCifar10Classes = 10;
inline constexpr std::size_t kCifar10ImageBytes = 3 * 32 * 32;
inline constexpr std::size_t kCifar10RecordBytes = 1 + kCifar10ImageBytes;  ///< the label, then three planes

/// The readers that cifar10() calls. Throw FormatError, and whatever the source throws.
///
/// Splits `records` records, which are the whole source, into `images` (kCifar10ImageBytes each: the red, the green and
/// the blue plane) and `labels`, which have room for them. What was read before an error stays written.
void read_cifar10_records(io::Source& source, std::size_t records, std::uint8_t* images, std::uint8_t* labels);
/// The ten names of a batches.meta.txt, one a line. Empty lines do not count.
std::vector<std::string> read_cifar10_names(io::Source& source);

/// Throws FormatError unless the source has the size of that number of records.
void check_cifar10_size(const io::Source& source, std::size_t records);

}  // namespace weft::nn
