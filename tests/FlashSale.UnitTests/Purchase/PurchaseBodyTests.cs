using System.Buffers;
using System.Text;
using FlashSale.Api.Purchase;

namespace FlashSale.UnitTests.Purchase;

public sealed class PurchaseBodyTests
{
    [Theory]
    [InlineData("{\"sku\":\"a\",\"quantity\":1}", "a", 1)]
    [InlineData(" { \"quantity\" : 1000 , \"sku\" : \"A-z_0.9\" } ", "A-z_0.9", 1000)]
    [InlineData("{\"s\\u006bu\":\"\\u0061\",\"quantity\":7}", "a", 7)]
    public void A_purchase_is_read(string body, string sku, int quantity)
    {
        var (errors, readSku, readQuantity) = Parse(body);
        Assert.Null(errors);
        Assert.Equal((sku, quantity), (readSku, readQuantity));
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-1")]
    [InlineData("1.5")]
    [InlineData("1.0")]
    [InlineData("1e0")]
    [InlineData("1001")]
    [InlineData("1e9")]
    [InlineData("9007199254740993")]
    [InlineData("99999999999999999999999999")]
    [InlineData("\"1\"")]
    [InlineData("null")]
    [InlineData("true")]
    [InlineData("[1]")]
    [InlineData("{}")]
    public void A_quantity_that_is_not_an_integer_from_1_to_1000_is_named(string quantity) =>
        Assert.Equal(["quantity"], Fields($"{{\"sku\":\"a\",\"quantity\":{quantity}}}"));

    [Theory]
    [InlineData("\"\"")]
    [InlineData("\"a b\"")]
    [InlineData("\"é\"")]
    [InlineData("\"a|b\"")]
    [InlineData("\"\\u0000\"")]
    [InlineData("null")]
    [InlineData("1")]
    [InlineData("[\"a\"]")]
    public void A_sku_of_other_characters_is_named(string sku) => Assert.Equal(["sku"], Fields($"{{\"sku\":{sku},\"quantity\":1}}"));

    [Fact]
    public void A_sku_of_64_characters_is_read_and_of_65_refused()
    {
        Assert.Null(Parse($"{{\"sku\":\"{new string('s', 64)}\",\"quantity\":1}}").Errors);
        Assert.Equal(["sku"], Fields($"{{\"sku\":\"{new string('s', 65)}\",\"quantity\":1}}"));
        Assert.Equal(["sku"], Fields($"{{\"sku\":\"{new string('s', 5000)}\",\"quantity\":1}}"));
    }

    [Theory]
    [InlineData("{}", "sku,quantity")]
    [InlineData("{\"sku\":\"a\"}", "quantity")]
    [InlineData("{\"sku\":\"a\",\"quantity\":1,\"price\":0}", "price")]
    [InlineData("{\"sku\":\"a\",\"quantity\":1,\"x\":{\"y\":[1]}}", "x")]
    [InlineData("{\"sku\":\"a\",\"quantity\":1,\"quantity\":2}", "quantity")]
    [InlineData("{\"sku\":\"a\",\"sku\":\"b\",\"quantity\":1}", "sku")]
    [InlineData("{\"SKU\":\"a\",\"quantity\":1}", "SKU,sku")]
    public void Everything_that_is_wrong_is_named(string body, string fields) => Assert.Equal(fields.Split(','), Fields(body));

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("\"sku\"")]
    [InlineData("{")]
    [InlineData("{\"sku\":\"a\",\"quantity\":1}}")]
    [InlineData("{\"sku\":\"a\",\"quantity\":1} x")]
    [InlineData("{\"sku\":\"a\",\"quantity\":1,}")]
    [InlineData("{'sku':'a','quantity':1}")]
    [InlineData("{\"sku\":\"\\ud800\",\"quantity\":1}")]
    [InlineData("{\"sku\":\"a\",\"quantity\":01}")]
    [InlineData("{\"sku\":\"a\",\"quantity\":[[[[[[[[[[1]]]]]]]]]]}")]
    public void What_is_not_a_JSON_object_is_the_body_s_fault(string body) => Assert.Equal(["body"], Fields(body));

    [Fact]
    public void Bytes_that_are_not_UTF8_are_refused() =>
        Assert.NotNull(PurchaseBody.Parse(new ReadOnlySequence<byte>([.. "{\"sku\":\""u8, 0xFF, 0xFE, .. "\",\"quantity\":1}"u8]), new char[PurchaseBody.MaxSku], out _, out _));

    [Fact]
    public void A_body_in_pieces_is_read_as_one()
    {
        var bytes = Encoding.UTF8.GetBytes("{\"sku\":\"abc\",\"quantity\":12}");
        for (var cut = 1; cut < bytes.Length; cut++)
        {
            var first = new Segment(bytes.AsMemory(0, cut));
            var last = first.Append(bytes.AsMemory(cut));
            var sku = new char[PurchaseBody.MaxSku];
            Assert.Null(PurchaseBody.Parse(new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length), sku, out var length, out var quantity));
            Assert.Equal(("abc", 12), (new string(sku, 0, length), quantity));
        }
    }

    private static string[] Fields(string body) => [.. Parse(body).Errors!.Select(error => error.Field)];

    private static (List<FlashSale.Platform.ProblemError>? Errors, string Sku, int Quantity) Parse(string body)
    {
        var sku = new char[PurchaseBody.MaxSku];
        var errors = PurchaseBody.Parse(new ReadOnlySequence<byte>(Encoding.UTF8.GetBytes(body)), sku, out var length, out var quantity);
        return (errors, errors is null ? new string(sku, 0, length) : "", quantity);
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory) => Memory = memory;

        public Segment Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Segment(memory) { RunningIndex = RunningIndex + Memory.Length };
            Next = next;
            return next;
        }
    }
}
