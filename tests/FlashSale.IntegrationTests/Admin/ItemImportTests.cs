using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>A file imports all of its items, or it imports nothing and the answer lists every wrong line.</summary>
[Collection<OnOneOfEach>]
public sealed class ItemImportTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Header = "sku,name,price,listPrice,currency,stock,perUserLimit";

    [Fact]
    public async Task Columns_come_in_any_order_fields_may_be_quoted_and_known_items_are_replaced()
    {
        var id = await Stack.Manager.CreateSaleAsync([new("a", 1), new("b", 2)]);
        var answer = await ImportAsync(id, "\ufeffstock,perUserLimit,currency,listPrice,price,name,sku\r\n7,,CNY,,100,\"An \"\"A\"\", quoted\",c\r\n9,3,USD,20,10,Ünï,b\r\n\r\n");
        Assert.Equal("2", Manager.Expect(200, answer).Member("imported"));
        var items = (await Stack.Manager.GetAsync($"/api/v1/sales/{id}")).Json.GetProperty("items").EnumerateArray().Select(item =>
            (item.GetProperty("sku").GetString(), item.GetProperty("name").GetString(), item.GetProperty("price").GetProperty("amount").GetInt64(),
                item.GetProperty("price").GetProperty("currency").GetString(), item.GetProperty("listPrice").ToString(), item.GetProperty("stock").GetInt32(), item.GetProperty("perUserLimit").GetInt32()));
        Assert.Equal(
        [
            ("a", "Item a", 199_900, "CNY", "", 1, 1),
            ("b", "Ünï", 10, "USD", """{"amount":20,"currency":"USD"}""", 9, 3),
            ("c", "An \"A\", quoted", 100, "CNY", "", 7, 1),
        ], items);
    }

    [Fact]
    public async Task Every_wrong_line_is_told_by_its_number_and_nothing_is_imported()
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        var lines = new[]
        {
            Header, "a,A,1,,CNY,1,", "", "b b,B,1,,CNY,1,", "c,,1,,CNY,1,", "d,D,-1,,CNY,1,", "e,E,1.0,,CNY,1,", "f,F,1,x,CNY,1,", "g,G,1,,cny,1,", "h,H,1,,CNY,2000000001,",
            "i,I,1,,CNY,1,0", "j,J,1,,CNY", "k,K\"K,1,,CNY,1,", "\"l,L,1,,CNY,1,", "a,A,1,,CNY,1,", "n,N,01,,CNY,+1,", "o,O,1,,CNY, 1,", "p,P,1,,CNY,,",
        };
        var answer = Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, string.Join('\n', lines)));
        Assert.Equal([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 16, 17, 18], Lines(answer));
        Assert.Empty((await Stack.Manager.GetAsync($"/api/v1/sales/{id}")).Json.GetProperty("items").EnumerateArray());
    }

    [Fact]
    public async Task Lines_and_columns_of_nothing_but_commas_are_passed_over()
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        var file = $"{Header},,\r\na,A,1,,CNY,1,,,\r\n,,,,,,,,\r\nb,B,1,,CNY,1,2,,\r\n,,\r\n,,,,,,,,,,\r\n";
        Assert.Equal("2", Manager.Expect(200, await ImportAsync(id, file, "text/csv; charset=\"utf8\"")).Member("imported"));
        var answer = Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, $"{Header},\na,A,1,,CNY,1,,\nb,B,1,,CNY,1,,red\nc,C,1,,CNY,1,,,red"));
        Assert.Equal([3, 4], Lines(answer));
    }

    [Theory]
    [InlineData(";", "';'")]
    [InlineData("\t", "tabs")]
    [InlineData("|", "'|'")]
    public async Task Another_separator_is_told_once_and_by_its_name(string separator, string name)
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        var errors = Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, $"{Header}\na,A,1,,CNY,1,\n".Replace(",", separator, StringComparison.Ordinal))).Json.GetProperty("errors");
        Assert.Equal($"the columns are separated by {name} here; separate them by commas", Assert.Single(errors.EnumerateArray()).GetProperty("message").GetString());
    }

    [Theory]
    [InlineData("", 1)]
    [InlineData("\n\n", 1)]
    [InlineData("sku,name,price,listPrice,currency,stock\na,A,1,,CNY,1", 1)]
    [InlineData("sku,name,price,listPrice,currency,stock,perUserLimit,colour\na,A,1,,CNY,1,,red", 1)]
    [InlineData("sku,sku,name,price,listPrice,currency,stock,perUserLimit\na,a,A,1,,CNY,1,", 1)]
    [InlineData("a,A,1,,CNY,1,", 1)]
    [InlineData("sku,name,price,listPrice,currency,stock,perUserLimit\n", 2)]
    public async Task A_file_without_its_header_or_without_items_is_refused(string file, int line)
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        Assert.All(Lines(Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, file))), told => Assert.Equal(line, told));
    }

    [Fact]
    public async Task A_hundred_wrong_lines_are_told_and_how_many_more_there_are()
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        var file = $"{Header}\n{string.Concat(Enumerable.Repeat("x x,A,1,,CNY,1,\n", 70))}{string.Concat(Enumerable.Repeat("same,A,1,,CNY,1,\n", 151))}";
        var errors = Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, file)).Json.GetProperty("errors");
        Assert.Equal(101, errors.GetArrayLength());
        // 70 wrong skus are in lines 2 to 71. The 150 lines after line 72 repeat its sku.
        Assert.Equal("sku is the same as in line 72", errors[70].GetProperty("message").GetString());
        Assert.Contains("120 more", errors[100].GetProperty("message").GetString());
    }

    [Fact]
    public async Task A_hundred_thousand_lines_are_imported_and_can_be_preloaded()
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        var file = new StringBuilder(Header).Append('\n');
        for (var i = 0; i < 100_000; i++) file.Append($"sku-{i:000000},\"Item {i}, in a box\",{100 + i},{200 + i},CNY,{i % 7},2\n");
        var answer = Manager.Expect(200, await ImportAsync(id, file.ToString()));
        Tell($"100,000 lines, {file.Length} characters: {answer.Took.TotalSeconds:0.00} s");
        Assert.Equal("100000", answer.Member("imported"));
        Assert.Equal(100_000, (await Stack.Manager.PreloadAsync(id)).Json.GetProperty("items").GetInt32());
        Refusal.AssertIs(409, "sale_state_conflict", await ImportAsync(id, $"{Header}\nz,Z,1,,CNY,1,"));
    }

    [Fact]
    public async Task A_sale_takes_no_more_items_than_a_node_can_hold()
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("first", 1)]);
        var file = new StringBuilder(Header).Append('\n');
        for (var i = 0; i < 100_000; i++) file.Append($"sku-{i},A,1,,CNY,1,1\n");
        var errors = Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, file.ToString())).Json.GetProperty("errors");
        Assert.Contains("100000 items", errors[0].GetProperty("message").GetString());
        Assert.Equal(1, await ScalarAsync<int>("select count(*)::int from sale_item where sale_id = @id", new { id }));
    }

    [Fact]
    public async Task A_file_of_a_hundred_thousand_lines_takes_no_more_memory_than_one_of_ten_thousand()
    {
        // The new process has held nothing before. Both imports make the same garbage, so only the memory held at once
        // can differ.
        await Stack.Admin.RestartAsync();
        for (var i = 0; i < 10; i++) await ImportNewAsync(10_000);
        var peak = Stack.Admin.PeakMemory;
        var length = await ImportNewAsync(100_000);
        var grown = Stack.Admin.PeakMemory - peak;
        Tell($"The peak was {peak / 1e6:0.0} MB with files of 10,000 lines; it grew by {grown / 1e6:0.0} MB with one of 100,000, which has {length / 1e6:0.0} MB");
        Assert.InRange(grown, 0, length / 3);

        async Task<int> ImportNewAsync(int lines)
        {
            var id = await Stack.Manager.CreateSaleAsync([]);
            var file = new StringBuilder(Header).Append('\n');
            // The name has 450 bytes.
            for (var i = 0; i < lines; i++) file.Append($"sku-{i:000000},{i:000000}").Append('箱', 148).Append(",100,,CNY,1,\n");
            var text = file.ToString();
            Assert.Equal($"{lines}", Manager.Expect(200, await ImportAsync(id, text)).Member("imported"));
            return Encoding.UTF8.GetByteCount(text);
        }
    }

    [Fact]
    public async Task Other_media_types_and_files_beyond_the_limit_are_refused()
    {
        var id = await Stack.Manager.CreateSaleAsync([]);
        Refusal.AssertIs(415, "unsupported_media_type", await ImportAsync(id, Header, "application/json"));
        Refusal.AssertIs(415, "unsupported_media_type", await ImportAsync(id, Header, "text/csv; charset=utf-16"));
        var one = Refusal.AssertIs(400, "invalid_request", await ImportAsync(id, $"{Header}\n{new string('x', 2_000_000)}"));
        Assert.Equal([2], Lines(one));
        // The server may answer or hang up before the client has sent everything.
        Assert.Contains((await ImportAsync(id, $"{Header}\n{string.Concat(Enumerable.Repeat("x x,A,1,,CNY,1,\n", 4_500_000))}")).Status, (int[])[413, 0]);
    }

    private async Task<Answer> ImportAsync(string id, string file, string type = "text/csv; charset=utf-8")
    {
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(file));
        content.Headers.TryAddWithoutValidation("Content-Type", type);
        return await Stack.Manager.SendAsync(HttpMethod.Post, $"/api/v1/sales/{id}/items:import", content);
    }

    private static int[] Lines(Answer answer) => [.. answer.Json.GetProperty("errors").EnumerateArray().Select(error => error.GetProperty("line").GetInt32())];
}
