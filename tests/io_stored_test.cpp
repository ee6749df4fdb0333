// Elements of files that are no dtype of weft's: converted where one of its dtypes holds every value, else named.
#include "core/io/stored.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/io/parse.h"
#include "tests/error_support.h"
#include "tests/io_support.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {
namespace {

using namespace test;

Array npy(const std::string& descr, const std::string& shape, const std::string& data) {
  const std::string dict = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "}";
  const std::string bytes = text("\x93NUMPY\1\0") + static_cast<char>(dict.size()) + '\0' + dict + data;
  io::MemorySource source("F", bytes);
  return io::read_npy(source);
}

TensorFile safetensors(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  bytes += header + data;
  io::MemorySource source("F", bytes);
  return io::read_safetensors(source);
}

Array safetensor(const std::string& dtype, const std::string& data, std::size_t count) {
  const std::string offsets = "[0," + std::to_string(data.size()) + "]";
  return safetensors(R"({"x":{"dtype":")" + dtype + R"(","shape":[)" + std::to_string(count) + R"(],"data_offsets":)" +
                         offsets + "}}",
                     data)
      .at("x");
}

/// Reads are by blocks of 8,192 elements, so the bytes are repeated past that.
template <class T>
void expect_values(const Array& found, DType dtype, const std::vector<T>& values) {
  EXPECT_EQ(found.dtype(), dtype);
  EXPECT_EQ(found.to_vector<T>(), values);
}

TEST(Stored, IntegersOfEveryWidthInBothOrdersOfBytes) {
  const std::string i1 = text("\x80\xff\0\x7f");
  const std::string i2 = text("\0\x80\xff\xff\1\2"), i2_swapped = text("\x80\0\xff\xff\2\1");
  const std::vector<std::int32_t> i2_values{-32768, -1, 0x201}, u2_values{32768, 65535, 0x201};
  const std::string u4 = text("\1\2\3\4\xff\xff\xff\xff"), u4_swapped = text("\4\3\2\1\xff\xff\xff\xff");
  expect_values<std::int32_t>(npy("|i1", "(4,)", i1), DType::i32, {-128, -1, 0, 127});
  expect_values<std::int32_t>(npy("<i2", "(3,)", i2), DType::i32, i2_values);
  expect_values<std::int32_t>(npy(">i2", "(3,)", i2_swapped), DType::i32, i2_values);
  expect_values<std::int32_t>(npy("<u2", "(3,)", i2), DType::i32, u2_values);
  expect_values<std::int32_t>(npy(">u2", "(3,)", i2_swapped), DType::i32, u2_values);
  expect_values<std::int64_t>(npy("<u4", "(2,)", u4), DType::i64, {0x4030201, 0xffffffff});
  expect_values<std::int64_t>(npy(">u4", "(2,)", u4_swapped), DType::i64, {0x4030201, 0xffffffff});
  expect_values<std::int32_t>(npy(">i4", "(1,)", text("\1\2\3\4")), DType::i32, {0x1020304});
  expect_values<std::int64_t>(npy(">i8", "(1,)", text("\1\2\3\4\5\6\7\x08")), DType::i64, {0x102030405060708});
  expect_values<std::int32_t>(safetensor("I8", i1, 4), DType::i32, {-128, -1, 0, 127});
  expect_values<std::int32_t>(safetensor("I16", i2, 3), DType::i32, i2_values);
  expect_values<std::int32_t>(safetensor("U16", i2, 3), DType::i32, u2_values);
  expect_values<std::int64_t>(safetensor("U32", u4, 2), DType::i64, {0x4030201, 0xffffffff});
}

TEST(Stored, FloatsInTheOtherOrderOfBytes) {
  expect_values<float>(npy(">f4", "(2,)", text("\x3f\xc0\0\0\xc0\0\0\0")), DType::f32, {1.5F, -2});
  expect_values<double>(npy(">f8", "(1,)", text("\x3f\xf8\0\0\0\0\0\0")), DType::f64, {1.5});
  const Array half = npy(">f2", "(1,)", text("\x3e\0"));
  EXPECT_EQ(half.dtype(), DType::f16);
  EXPECT_EQ(half.item<double>(), 1.5);
}

TEST(Stored, AManyBlocksLongArray) {
  constexpr int kCount = 8192 * 2 + 5;
  std::string data;
  std::vector<std::int32_t> values;
  for (int i = 0; i < kCount; ++i) {
    data.push_back(static_cast<char>(i * 37));
    values.push_back(static_cast<std::int8_t>(i * 37));
  }
  expect_values<std::int32_t>(safetensor("I8", data, kCount), DType::i32, values);
  expect_values<std::int32_t>(safetensor("I8", "", 0), DType::i32, {});
}

TEST(Stored, SmallFloats) {
  const Array e5m2 = safetensor("F8_E5M2", text("\0\x01\x3c\x7b\x7c\xbc\xff"), 7);
  EXPECT_EQ(e5m2.dtype(), DType::f16);
  const std::vector<float> wide = e5m2.to(DType::f32).to_vector<float>();
  EXPECT_EQ(std::vector<float>(wide.begin(), wide.end() - 1),
            (std::vector<float>{0, 0x1p-16F, 1, 57344, INFINITY, -1}));
  EXPECT_TRUE(std::isnan(wide.back()));
  // Every number of E4M3 in ascending order: the step doubles every eight from 16 on.
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const Array e4m3 = safetensor("F8_E4M3", all, 256);
  EXPECT_EQ(e4m3.dtype(), DType::f16);
  const std::vector<float> found = e4m3.to(DType::f32).to_vector<float>();
  float expected = 0, step = 0x1p-9F;
  for (std::size_t i = 0; i < 127; ++i) {
    ASSERT_EQ(found[i], expected) << i;
    ASSERT_EQ(found[i + 128], -expected) << i;
    ASSERT_TRUE(std::signbit(found[i + 128])) << i;
    if (i >= 16 && i % 8 == 0) step *= 2;
    expected += step;
  }
  EXPECT_EQ(found[126], 448);
  EXPECT_TRUE(std::isnan(found[127]) && std::isnan(found[255]));
  const std::vector<float> powers = safetensor("F8_E8M0", text("\0\x7f\xfe\xff"), 4).to_vector<float>();
  EXPECT_EQ(powers[0], 0x1p-127F);
  EXPECT_EQ(powers[1], 1);
  EXPECT_EQ(powers[2], 0x1p127F);
  EXPECT_TRUE(std::isnan(powers[3]));
}

// A tensor that weft cannot hold leaves the rest of its file readable.
TEST(Stored, WhatNoDtypeHoldsIsListed) {
  const TensorFile file = safetensors(
      R"({"__metadata__":{"a":"b"},)"
      R"("c":{"dtype":"C64","shape":[1],"data_offsets":[4,12]},"f":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("n":{"dtype":"F4","shape":[2,3],"data_offsets":[12,15]},"u":{"dtype":"U64","shape":[1,1],"data_offsets":[15,23]},)"
      R"("z":{"dtype":"U8","shape":[1],"data_offsets":[23,24]}})",
      text("\0\0\xc0\x3f") + std::string(19, 'x') + "\7");
  EXPECT_EQ(file.at("f").item<float>(), 1.5F);
  EXPECT_EQ(file.at("z").item<int>(), 7);
  EXPECT_EQ(file.arrays.size(), 2U);
  EXPECT_EQ(file.unsupported,
            (std::map<std::string, std::string>{{"c", "C64 (1,)"}, {"n", "F4 (2, 3)"}, {"u", "U64 (1, 1)"}}));
  EXPECT_EQ(file.metadata.at("a"), "b");
  expect_error<DTypeError>(R"(TensorFile: "u" is U64 (1, 1), which no dtype of weft holds)", [&] { file.at("u"); });
  expect_error<ValueError>(R"(TensorFile: there is no "w")", [&] { file.at("w"); });
}

TEST(Stored, SizesOfPython2) {
  EXPECT_EQ(npy("|u1", "(2L, 1L)", "ab").shape(), Shape({2, 1}));
  EXPECT_EQ(npy("|u1", "(2L,)", "ab").shape(), Shape({2}));
}

}  // namespace
}  // namespace weft
