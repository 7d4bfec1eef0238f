using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>
/// Measures a million entries: their import, their memory and the bytes that a purchase allocates with them.
/// </summary>
public sealed class MillionTests(TwoNodes fixture, ITestOutputHelper output) : BlocklistTest(fixture, output), IClassFixture<TwoNodes>
{
    private const int Million = 1_000_000;
    private const int Purchases = 6_000;
    private const int BytesPerAcceptance = 2_500;

    [Fact]
    public async Task A_million_entries_are_imported_reach_every_node_and_leave_a_purchase_within_its_budget()
    {
        await Crowd.AllBuyAsync(Stack, Sale, users: Purchases, prefix: "warm");
        await CostAsync("without");
        var heap = await FigureAsync(0, "dotnet_gc_heap_bytes");

        using var http = new HttpClient { Timeout = TimeSpan.FromMinutes(5) };
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Stack.Admin.Url, $"{Path}:import")) { Content = new ByteArrayContent(MillionLines()) };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Manager.OperatorToken);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("text/csv");
        var answer = Manager.Expect(200, await Answer.OfAsync(http, request));
        Assert.Equal($"{Million}", answer.Member("imported"));
        var clock = Stopwatch.StartNew();
        for (var node = 0; node < 2; node++)
            await Eventually.TrueAsync($"node {node} holds a million entries", TimeSpan.FromMinutes(3), async () => await FigureAsync(node, "flashsale_blocklist_entries") >= Million);
        Tell($"Imported in {answer.Took.TotalSeconds:0.0} s; on every node {clock.Elapsed.TotalSeconds:0.0} s later; the Admin host's peak {Stack.Admin.PeakMemory / 1e6:0} MB");

        await AssertNowAsync(blocked: true, "m-0", "m-899999");
        await AssertNowAsync(blocked: false, "m-900000");
        Assert.Equal(201, (await BlockAsync("user", "one-more")).Status);
        await EveryNodeAsync(blocks: true, "one-more");
        Assert.Equal(204, (await UnblockAsync("user", "m-0")).Status);
        await EveryNodeAsync(blocks: false, "m-0");

        var with = await CostAsync("with");
        Tell($"Redis keeps {await Stack.Redis.Client.NumberAsync("MEMORY", "USAGE", "fs:blocklist") / 1e6:0} MB; the node's heap grew by {(await FigureAsync(0, "dotnet_gc_heap_bytes") - heap) / 1e6:0} MB");
        // Every purchase has this budget. The processor time is printed and not judged, because the first round runs
        // code that the JIT has not finished, so the second round cannot be measured against it. The few bytes between
        // the rounds are not judged either, because they include other work of the node. A unit test checks that a
        // look-up allocates nothing.
        Assert.InRange(with, 1, BytesPerAcceptance);

        clock.Restart();
        await Stack.Apis[1].RestartAsync();
        Tell($"A node that was started anew had read all of it {clock.Elapsed.TotalSeconds:0.0} s after");
        await AssertNowAsync(blocked: true, "one-more", "m-1");
        await AssertNowAsync(blocked: false, "m-0");
    }

    private async Task<double> CostAsync(string prefix)
    {
        var (cpu, bytes) = (await FigureAsync(0, "process_cpu_seconds_total"), await FigureAsync(0, "dotnet_gc_allocated_bytes_total"));
        await Crowd.AllBuyAsync(Stack, Sale, users: Purchases, prefix: prefix);
        cpu = (await FigureAsync(0, "process_cpu_seconds_total") - cpu) * 1e6 / Purchases;
        bytes = (await FigureAsync(0, "dotnet_gc_allocated_bytes_total") - bytes) / Purchases;
        Tell($"A purchase {prefix} a million entries: {cpu:0.0} microseconds of the first node, {bytes:0} bytes");
        return bytes;
    }

    private Task<double> FigureAsync(int node, string name) => Figures.ShownAsync(Stack.Apis[node], name);

    private static byte[] MillionLines()
    {
        var lines = new StringBuilder(CsvHeader, 40 * Million);
        for (var i = 0; i < Million; i++)
        {
            lines.Append(i switch
            {
                < 900_000 => $"user,m-{i}",
                < 950_000 => $"ip,198.{18 + ((i >> 16) & 1)}.{(i >> 8) & 255}.{i & 255}",
                < 975_000 => $"ip,2001:db8::{i >> 16:x}:{i & 0xFFFF:x}",
                _ => $"cidr,100.{64 + ((i >> 14) & 3)}.{(i >> 6) & 255}.{(i & 63) << 2}/30",
            }).Append(",made up,\n");
        }
        return Encoding.ASCII.GetBytes(lines.ToString());
    }
}
