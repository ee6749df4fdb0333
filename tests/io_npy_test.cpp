#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "core/io/parse.h"
#include "tests/io_support.h"
#include "weft/error.h"
#include "weft/io.h"

namespace weft {
namespace {

using namespace test;

const std::string kInt32Data = text("\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0");

/// A file of the given version whose header is this dict, with no padding.
std::string file_of(const std::string& dict, const std::string& data = "", int version = 1) {
  std::string bytes = text("\x93NUMPY");
  bytes += static_cast<char>(version);
  bytes += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes += static_cast<char>(dict.size() >> (8 * i));
  return bytes + dict + data;
}

/// The dict as NumPy writes it, padded so that the data begins at byte 128.
std::string numpy_file(int version, const std::string& dict, const std::string& data) {
  return file_of(dict + std::string(128 - (version == 1 ? 10 : 12) - dict.size() - 1, ' ') + "\n", data, version);
}

Array parse(const std::string& bytes) {
  io::MemorySource source("F", bytes);
  return io::read_npy(source);
}

std::string refusal(const std::string& bytes) {
  return message_of<FormatError>([&] { parse(bytes); });
}

class NpyRoundTrip : public testing::TestWithParam<DType> {};

TEST_P(NpyRoundTrip, KeepsEveryShape) {
  const TemporaryFolder folder;
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(to_string(shape));
    const Array array = sample(shape, GetParam());
    if (GetParam() == DType::bf16) {
      EXPECT_EQ(message_of<DTypeError>([&] { save_npy(folder / "f", array); }),
                "save_npy: NumPy has no such dtype, convert to f32 first (bf16)");
      EXPECT_TRUE(folder.names().empty());
      continue;
    }
    save_npy(folder / "f", array);
    EXPECT_EQ(std::filesystem::file_size(folder / "f") % 64,
              static_cast<std::size_t>(array.size()) * size_of(GetParam()) % 64);
    expect_equal(load_npy(folder / "f"), array);
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, NpyRoundTrip, testing::ValuesIn(kAllDTypes),
                         [](const auto& instance) { return std::string(name(instance.param)); });

TEST(Npy, WritesViewsInLogicalOrder) {
  const TemporaryFolder folder;
  for (const Array& view : odd_views()) {
    save_npy(folder / "f", view);
    expect_equal(load_npy(folder / "f"), view);
  }
}

TEST(Npy, WritesWhatNumPyWrites) {
  const TemporaryFolder folder;
  const auto saved = [&](const Array& array) {
    save_npy(folder / "f", array);
    return read_file(folder / "f");
  };
  const std::int32_t values[] = {0, 1, 2, 3, 4, 5};
  EXPECT_EQ(saved(Array::from<std::int32_t>(values, {2, 3})),
            numpy_file(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", kInt32Data));
  EXPECT_EQ(saved(Array::from<std::int32_t>(values, {6})),
            numpy_file(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }", kInt32Data));
  EXPECT_EQ(saved(Array::full({}, 1, DType::u8)),
            numpy_file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }", "\1"));
}

TEST(Npy, ReadsWhatNumPyWrites) {
  const std::int32_t values[] = {0, 1, 2, 3, 4, 5};
  const Array matrix = Array::from<std::int32_t>(values, {2, 3});
  expect_equal(parse(numpy_file(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", kInt32Data)), matrix);

  const std::string by_column = text("\0\0\0\0\3\0\0\0\1\0\0\0\4\0\0\0\2\0\0\0\5\0\0\0");
  const Array fortran = parse(numpy_file(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }", by_column));
  expect_equal(fortran, matrix);
  EXPECT_TRUE(fortran.layout().is_row_major());

  const double doubles[] = {1.5, -2};
  expect_equal(parse(numpy_file(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
                                text("\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0"))),
               Array::from<double>(doubles, {2}));
  EXPECT_EQ(bytes_of(parse(numpy_file(3, "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", text("\1\0")))),
            text("\1\0"));
  const Array half = parse(numpy_file(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (), }", text("\0<")));
  EXPECT_EQ(half.dtype(), DType::f16);
  EXPECT_EQ(half.rank(), 0);
  EXPECT_EQ(bytes_of(half), text("\0<"));
}

TEST(Npy, ReadsFortranOrderOfEveryRank) {
  const std::string dict = "{'descr': '<i4', 'fortran_order': True, 'shape': ";
  EXPECT_EQ(bytes_of(parse(file_of(dict + "(6,)}", kInt32Data))), kInt32Data);
  EXPECT_EQ(parse(file_of(dict + "(0, 5)}")).shape(), Shape({0, 5}));
  std::string data, expected;
  for (int i = 0; i < 24; ++i) data += text("\0\0\0") + static_cast<char>(i);
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 3; ++b)
      for (int c = 0; c < 4; ++c) expected += text("\0\0\0") + static_cast<char>(a + 2 * b + 6 * c);
  EXPECT_EQ(bytes_of(parse(file_of(dict + "(2, 3, 4)}", data))), expected);
}

TEST(Npy, TakesTheDictInEveryWriting) {
  for (const std::string dict : {
           "{'shape':(1,),'descr':'|u1','fortran_order':False}",
           "{\"fortran_order\": False, \"shape\": (1,), \"descr\": \"|u1\"}   \n",
           "  { 'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 1 , ) , }\n\n",
           "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1, 1,), }",
           "{'descr': '|u1', 'fortran_order': True, 'shape': (01, 1), }",
       })
    EXPECT_EQ(bytes_of(parse(file_of(dict, "x"))), "x") << dict;
}

TEST(Npy, RefusesABrokenFrame) {
  const std::string dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_EQ(refusal(""), "F: file is truncated (0 bytes)");
  EXPECT_EQ(refusal(text("\x93NUMPZ\1\0")), "F: file must begin with \\x93NUMPY (\"\\x93NUMPZ\")");
  EXPECT_EQ(refusal(text("\x93NUMPY\4\0")), "F: version must be 1.0, 2.0 or 3.0 (4.0)");
  EXPECT_EQ(refusal(text("\x93NUMPY\0\0")), "F: version must be 1.0, 2.0 or 3.0 (0.0)");
  EXPECT_EQ(refusal(text("\x93NUMPY\1\1")), "F: version must be 1.0, 2.0 or 3.0 (1.1)");
  EXPECT_EQ(refusal(text("\x93NUMPY\1\0x")), "F: file is truncated (9 bytes)");
  EXPECT_EQ(refusal(text("\x93NUMPY\1\0\x20\0{")), "F: file is truncated (11 bytes)");
  EXPECT_EQ(refusal(text("\x93NUMPY\2\0\xff\xff\xff\xff")), "F: header must be at most 65535 bytes (4294967295)");
  EXPECT_EQ(refusal(file_of(dict, "x")), "F: data must be shape times dtype size (u1 (2,) needs 2 bytes, 1 present)");
  EXPECT_EQ(refusal(file_of(dict, "xyz")), "F: data must be shape times dtype size (u1 (2,) needs 2 bytes, 3 present)");
}

TEST(Npy, RefusesABrokenHeader) {
  const auto dict = [](const std::string& descr, const std::string& order, const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + "}";
  };
  const std::string dict_rule = "header must be a Python dict (expected ";
  const std::string dtypes =
      "dtype must be f8, f4, f2, i8, i4, i2, i1, u4, u2, u1 or b1 after <, > or, for one byte, | ";
  const std::pair<std::string, std::string> cases[] = {
      {"", dict_rule + "{ at byte 0 of it)"},
      {"[]", dict_rule + "{ at byte 0 of it)"},
      {"{}", "a key is missing (descr)"},
      {"{'descr': '|u1'}", "a key is missing (fortran_order)"},
      {"{'descr': '|u1', 'fortran_order': True}", "a key is missing (shape)"},
      {"{'descr': '|u1', 'descr': '|u1'}", "keys must be unique (\"descr\")"},
      {"{'fortran_order': True, 'fortran_order': True}", "keys must be unique (\"fortran_order\")"},
      {"{'shape': (), 'shape': ()}", "keys must be unique (\"shape\")"},
      {"{'order': 1}", "keys must be descr, fortran_order and shape (\"order\")"},
      {"{'descr", dict_rule + "a closing quote at byte 2 of it)"},
      {"{'descr' '|u1'}", dict_rule + ": at byte 9 of it)"},
      {"{'descr': '|u1' 'shape': ()}", dict_rule + "} at byte 16 of it)"},
      {"{'descr': '|u1', ", dict_rule + "' at byte 17 of it)"},
      {dict("'|u1'", "False", "(1,)") + "x", dict_rule + "the end at byte 55 of it)"},
      {dict("'<u8'", "False", "()"), dtypes + "(\"<u8\")"},
      {dict("'=f4'", "False", "()"), dtypes + "(\"=f4\")"},
      {dict("'|f4'", "False", "()"), dtypes + "(\"|f4\")"},
      {dict("'|u1'", "False", "(1l,)"), dict_rule + ", at byte 52 of it)"},
      {dict("'|O'", "False", "()"), dtypes + "(\"|O\")"},
      {dict("'<c8'", "False", "()"), dtypes + "(\"<c8\")"},
      {dict("'<V2'", "False", "()"), dtypes + "(\"<V2\")"},
      {dict("'<f44'", "False", "()"), dtypes + "(\"<f44\")"},
      {dict("[('a', '<f4')]", "False", "()"), "structured dtypes are not supported (descr is a list)"},
      {dict("1", "False", "()"), dict_rule + "' at byte 10 of it)"},
      {dict("'|u1'", "0", "()"), dict_rule + "True or False at byte 34 of it)"},
      {dict("'|u1'", "Falsey", "()"), dict_rule + "} at byte 39 of it)"},
      {dict("'|u1'", "False", "(1)"), dict_rule + ", at byte 53 of it)"},
      {dict("'|u1'", "False", "1"), dict_rule + "( at byte 50 of it)"},
      {dict("'|u1'", "False", "(,)"), dict_rule + "a non-negative integer at byte 51 of it)"},
      {dict("'|u1'", "False", "(-1,)"), dict_rule + "a non-negative integer at byte 51 of it)"},
      {dict("'|u1'", "False", "(1.0,)"), dict_rule + ", at byte 52 of it)"},
      {dict("'|u1'", "False", "(1 1)"), dict_rule + ", at byte 53 of it)"},
      {dict("'|u1'", "False", "(1,,1)"), dict_rule + "a non-negative integer at byte 53 of it)"},
      {dict("'|u1'", "False", "(1,1,1,1,1,1,1,1,1)"), "rank must be at most 8 (at least 9)"},
      {dict("'|u1'", "False", "(9223372036854775808,)"), "sizes must be at most 2^63 - 1 (9223372036854775808,)"},
      {dict("'<f4'", "False", "(4611686018427387904,)"), "shape is too large (f4 (4611686018427387904,))"},
      {dict("'<f4'", "False", "(4294967296, 4294967296, 0)"), "shape is too large (f4 (4294967296, 4294967296, 0))"},
      {dict("'|b1'", "False", "(1,)"), "booleans must be 0 or 1 (b1 (1,), element 0: 120)"},
  };
  for (const auto& item : cases) EXPECT_EQ(refusal(file_of(item.first, "x")), "F: " + item.second) << item.first;
}

TEST(Npy, EveryFlippedHeaderBitIsRefusedOrHarmless) {
  const std::string bytes = numpy_file(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", kInt32Data);
  int loaded_count = 0, refused_count = 0;
  for (std::size_t bit = 0; bit < 128 * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    if (flipped.find(">i4") != std::string::npos) continue;  // another order of bytes
    try {
      EXPECT_EQ(bytes_of(parse(flipped)), kInt32Data) << "bit " << bit;
      ++loaded_count;
    } catch (const FormatError&) {
      ++refused_count;
    }
  }
  EXPECT_GT(loaded_count, 0);
  EXPECT_GT(refused_count, 900);
}

TEST(Npy, EveryTruncationIsRefusedByName) {
  const TemporaryFolder folder;
  const std::string bytes = numpy_file(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", kInt32Data);
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THROW(parse(bytes.substr(0, length)), FormatError);
  write_file(folder / "f", bytes + "x");
  EXPECT_EQ(message_of<FormatError>([&] { load_npy(folder / "f"); }),
            (folder / "f").string() + ": data must be shape times dtype size (i4 (2, 3) needs 24 bytes, 25 present)");
  EXPECT_EQ(message_of<ValueError>([&] { save_npy(folder / "f", Array()); }), "save_npy: array is undefined");
}

}  // namespace
}  // namespace weft
