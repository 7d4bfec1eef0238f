using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.IntegrationTests.Protection;

namespace FlashSale.IntegrationTests.Sales;

/// <summary>Sale pages are tagged, compressed and cached for a limited time.</summary>
[Collection<OnOneOfEach>]
public sealed class PageCachingTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task A_tag_is_compared_weakly_and_as_a_whole()
    {
        // The page of a sale stays the same before the opening.
        var path = $"/api/v1/sales/{await ScheduledAsync(TimeSpan.FromHours(1))}";
        var anyone = Stack.Shopper("anyone");
        var tag = (await anyone.GetAsync(path)).Header("etag")!;
        var strong = tag.Replace("W/", "", StringComparison.Ordinal);
        foreach (var same in (string[])[strong, $"W/{strong}", $"\"a\", {strong} , \"b\"", $"W/\"x\",{tag}"])
            Assert.Equal((same, 304), (same, (await anyone.GetAsync(path, ("If-None-Match", same))).Status));
        foreach (var other in (string[])[$"\"{strong.Trim('"')}0\"", $"\"W/{strong.Trim('"')}\"", strong.Trim('"'), "W/*"])
            Assert.Equal((other, 200), (other, (await anyone.GetAsync(path, ("If-None-Match", other))).Status));
    }

    [Fact]
    public async Task A_page_of_many_items_is_compressed_for_clients_that_take_it()
    {
        var sale = await Stack.OpenSaleAsync([.. Enumerable.Range(0, 300).Select(i => new ItemDraft($"sku-{i}", 10, Name: $"限时抢购 {i}"))]);
        var path = $"/api/v1/sales/{sale.Id}";
        var anyone = Stack.Shopper("anyone");
        var plain = await anyone.GetAsync(path);
        Assert.Null(plain.Header("content-encoding"));
        foreach (var taken in (string[])["gzip", "br, gzip;q=0.5", "*"])
        {
            var small = await anyone.GetAsync(path, ("Accept-Encoding", taken));
            Assert.Equal(("gzip", "Accept-Encoding", plain.Header("etag")), (small.Header("content-encoding"), small.Header("vary"), small.Header("etag")));
            Assert.InRange(small.Body.Length, 1, plain.Body.Length / 4);
            Assert.Equal(small.Body.Length, int.Parse(small.Header("content-length")!, CultureInfo.InvariantCulture));
            var page = await UnzipAsync(small.Body);
            Assert.Equal(plain.Json.GetProperty("items").ToString(), page.GetProperty("items").ToString());
            Assert.True(page.GetProperty("serverTime").GetDateTimeOffset() >= plain.Json.GetProperty("serverTime").GetDateTimeOffset());
        }
        foreach (var refused in (string[])["identity", "gzip;q=0", "br", "gzip;q=0, *"])
        {
            var answer = await anyone.GetAsync(path, ("Accept-Encoding", refused));
            Assert.Equal((refused, null, "Accept-Encoding"), (refused, answer.Header("content-encoding"), answer.Header("vary")));
        }
        Assert.Null((await anyone.GetAsync($"/api/v1/sales/{await ScheduledAsync(TimeSpan.FromHours(1))}", ("Accept-Encoding", "gzip"))).Header("content-encoding"));
    }

    [Fact]
    public async Task No_page_may_be_kept_past_the_opening_of_its_sale()
    {
        await Stack.SwitchAsync(null, new { freshSalePages = false }, ceiling: 0);
        try
        {
            var id = await ScheduledAsync(TimeSpan.FromSeconds(5));
            var ages = new List<int>();
            await Eventually.TrueAsync("the sale is open", TimeSpan.FromSeconds(30), async () =>
            {
                foreach (var path in (string[])["/api/v1/sales", $"/api/v1/sales/{id}"])
                {
                    var answer = await Stack.Shopper("anyone").GetAsync(path);
                    var page = answer.Json.TryGetProperty("sales", out var list) ? list.EnumerateArray().Single(one => one.GetProperty("saleId").GetString() == id) : answer.Json;
                    if (page.GetProperty("status").GetString() != "scheduled") return true;
                    var age = int.Parse(answer.Header("cache-control")!["public, max-age=".Length..], CultureInfo.InvariantCulture);
                    ages.Add(age);
                    Assert.True(page.GetProperty("serverTime").GetDateTimeOffset().AddSeconds(age) <= page.GetProperty("opensAt").GetDateTimeOffset(), $"{age} s: {page}");
                }
                return false;
            });
            Assert.Contains(ages, age => age > 1);
            Assert.Contains(0, ages);
        }
        finally
        {
            await Stack.SwitchAsync(null, ceiling: 0);
        }
    }

    private async Task<string> ScheduledAsync(TimeSpan opensIn)
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)], opensIn);
        await Stack.Manager.PreloadAsync(id);
        await Stack.StatusOnEveryNodeAsync(id, "scheduled");
        return id;
    }

    private static async Task<JsonElement> UnzipAsync(byte[] body)
    {
        using var gzip = new GZipStream(new MemoryStream(body), CompressionMode.Decompress);
        return (await JsonDocument.ParseAsync(gzip)).RootElement;
    }
}
