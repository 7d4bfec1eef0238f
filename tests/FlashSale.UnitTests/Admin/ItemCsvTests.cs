using System.Text;
using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;
using FlashSale.Sales;

namespace FlashSale.UnitTests.Admin;

public sealed class ItemCsvTests
{
    private const string Header = "sku,name,price,listPrice,currency,stock,perUserLimit\n";

    [Theory]
    [InlineData("a,A,1,,CNY,2,", 1L, null, 2, 1)]
    [InlineData("a,A,0,0,CNY,0,1000000", 0L, 0L, 0, 1_000_000)]
    [InlineData("a,A,1000000000000,7,CNY,2000000000,1", 1_000_000_000_000L, 7L, 2_000_000_000, 1)]
    public async Task A_line_is_an_item(string line, long price, long? listPrice, int stock, int perUserLimit)
    {
        var (items, errors) = await ReadAsync(Header + line);
        Assert.False(errors.Any);
        Assert.Equal([new ItemDraft("a", "A", price, listPrice, "CNY", stock, perUserLimit)], items);
    }

    [Theory]
    [InlineData("1000000000001", "1", "price")]
    [InlineData("9999999999999999999999", "1", "price")]
    [InlineData("00", "1", "price")]
    [InlineData("1e3", "1", "price")]
    [InlineData("1,5", "1", "")]
    [InlineData("", "1", "price")]
    [InlineData("1", "-0", "stock")]
    [InlineData("1", "２", "stock")]
    [InlineData("1", " 2", "stock")]
    [InlineData("1", "2147483648", "stock")]
    public async Task A_number_that_is_not_plain_digits_within_bounds_is_refused(string price, string stock, string column)
    {
        var (items, errors) = await ReadAsync($"{Header}a,A,{price},,CNY,{stock},");
        Assert.Empty(items);
        var error = Assert.Single(errors.ToProblem());
        Assert.Equal(2, error.Line);
        Assert.StartsWith(column.Length > 0 ? $"{column} must be" : "has 8 fields", error.Message);
    }

    [Fact]
    public async Task Bytes_that_are_not_utf8_are_refused_where_they_stand()
    {
        byte[] file = [.. Encoding.UTF8.GetBytes(Header), .. "a,"u8, 0xC3, 0x28, .. ",1,,CNY,1,\nb,B,1,,CNY,1,\n"u8];
        var (items, errors) = await ReadAsync(file);
        Assert.Equal(["b"], items.Select(item => item.Sku));
        Assert.Equal(2, Assert.Single(errors.ToProblem()).Line);
    }

    [Fact]
    public async Task Lines_keep_their_numbers_across_blank_lines_and_line_ends_of_all_kinds()
    {
        var (items, errors) = await ReadAsync($"{Header}\r\n\na,A,1,,CNY,1,\r\n\r\nb b,B,1,,CNY,1,\nc,C,1,,CNY,1,");
        Assert.Equal(["a", "c"], items.Select(item => item.Sku));
        Assert.Equal(6, Assert.Single(errors.ToProblem()).Line);
    }

    [Fact]
    public async Task A_file_is_read_in_pieces_however_they_fall()
    {
        var file = new StringBuilder(Header);
        for (var i = 0; i < 3_000; i++) file.Append($"sku-{i},\"Name, {i}\",{i},,CNY,{i},\n");
        var (items, errors) = await ReadAsync(Encoding.UTF8.GetBytes(file.ToString()), piece: 61);
        Assert.False(errors.Any);
        Assert.Equal(Enumerable.Range(0, 3_000).Select(i => ($"sku-{i}", $"Name, {i}", i)), items.Select(item => (item.Sku, item.Name, item.Stock)));
    }

    private static Task<(List<ItemDraft> Items, LineErrors Errors)> ReadAsync(string file) => ReadAsync(Encoding.UTF8.GetBytes(file));

    private static async Task<(List<ItemDraft> Items, LineErrors Errors)> ReadAsync(byte[] file, int piece = int.MaxValue)
    {
        var errors = new LineErrors();
        using var csv = new ItemCsv(new InPieces(file, piece), errors);
        var items = new List<ItemDraft>();
        if (await csv.ReadHeaderAsync(CancellationToken.None))
        {
            while (await csv.ReadItemAsync(CancellationToken.None) is { } item) items.Add(item);
        }
        return (items, errors);
    }

    private sealed class InPieces(byte[] bytes, int piece) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(buffer.Length, piece)], cancellationToken);
    }
}
