using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>A blocked shopper cannot buy on any node within a second. Other shoppers can.</summary>
public sealed class BlockingTests(TwoNodes fixture, ITestOutputHelper output) : BlocklistTest(fixture, output), IClassFixture<TwoNodes>
{
    private const string Address = "127.0.0.9";

    [Theory]
    [InlineData("user", "blocked-user")]
    [InlineData("ip", Address)]
    [InlineData("ip", "::ffff:127.0.0.9")]
    [InlineData("cidr", "127.0.0.8/30")]
    [InlineData("cidr", "::ffff:127.0.0.8/126")]
    [InlineData("client", "https://bots.example/app")]
    public async Task Each_kind_blocks_within_a_second_and_unblocks_within_a_second(string kind, string value)
    {
        using var from = From(Address);
        Assert.Equal(201, (await BlockAsync(kind, value)).Status);
        await EveryNodeAsync(blocks: true, "blocked-user", from, "https://bots.example/app");
        // This shopper comes from another address, with another application.
        await AssertNowAsync(blocked: false, "somebody-else");
        if (kind is not "user") Assert.False(await IsBlockedAsync(0, "blocked-user", client: "https://bots.example/ap"));
        Assert.Equal(204, (await UnblockAsync(kind, value)).Status);
        await EveryNodeAsync(blocks: false, "blocked-user", from, "https://bots.example/app");
    }

    [Fact]
    public async Task An_end_that_passes_needs_no_message()
    {
        var until = TimeProvider.System.GetUtcNow() + TimeSpan.FromSeconds(3);
        Assert.Equal(201, (await BlockAsync("user", "for-a-while", In(until - TimeProvider.System.GetUtcNow()))).Status);
        await EveryNodeAsync(blocks: true, "for-a-while");
        // Nobody is left to tell the nodes.
        Stack.Worker.Freeze();
        Stack.Admin.Freeze();
        try
        {
            for (var node = 0; node < 2; node++)
            {
                await Eventually.TrueAsync($"node {node} serves again", TimeSpan.FromSeconds(5), async () => !await IsBlockedAsync(node, "for-a-while"));
                var late = TimeProvider.System.GetUtcNow() - until;
                Assert.InRange(late, TimeSpan.FromMilliseconds(-50), TimeSpan.FromSeconds(2));
            }
        }
        finally
        {
            Stack.Worker.Thaw();
            Stack.Admin.Thaw();
        }
        Assert.Empty((await Stack.Manager.GetAsync($"{Path}?kind=user&value=for-a-while")).Json.GetProperty("entries").EnumerateArray());
        // An ended entry counts as absent, so it can be added anew.
        Assert.Equal(201, (await BlockAsync("user", "for-a-while")).Status);
    }

    [Fact]
    public async Task An_entry_can_be_given_an_end_and_rid_of_it()
    {
        Assert.Equal(201, (await BlockAsync("user", "extended", In(TimeSpan.FromSeconds(2)))).Status);
        var longer = await BlockAsync("user", "extended");
        Assert.Equal((200, ""), (longer.Status, longer.Json.GetProperty("until").ToString()));
        var end = Stopwatch.StartNew();
        await Eventually.TrueAsync("the first end has passed", Patience, async () =>
        {
            await EveryNodeAsync(blocks: true, "extended");
            return end.Elapsed > TimeSpan.FromSeconds(3);
        });
        Assert.Equal(200, (await BlockAsync("user", "extended", In(TimeSpan.FromSeconds(1)))).Status);
        await EveryNodeAsync(blocks: false, "extended", within: TimeSpan.FromSeconds(3));
    }

    [Fact]
    public async Task Who_is_blocked_after_buying_is_refused_a_replay_too_but_reads_and_cancels()
    {
        var bought = await Stack.Shopper("bought-before").BuyAsync(Sale, key: "first");
        Assert.Equal(202, bought.Status);
        Assert.Equal(201, (await BlockAsync("user", "bought-before")).Status);
        await EveryNodeAsync(blocks: true, "bought-before");
        var shopper = Stack.Shopper("bought-before", node: 1);
        var body = $$"""{"sku":"{{Sale.Sku}}","quantity":1}""";
        var refused = Refusal.AssertIs(403, "user_blocked", await shopper.PurchaseAsync(Sale.Id, body, "first"));
        Assert.DoesNotContain("bought-before", refused.Text);
        // The block is checked before the request is looked at, but after the token.
        Refusal.AssertIs(403, "user_blocked", await shopper.PurchaseAsync("no-such-sale", "{", key: null, contentType: "text/plain"));
        Refusal.AssertIs(401, "unauthenticated", await Stack.Shopper("bought-before", token: Tokens.For("bought-before") + "x").PurchaseAsync(Sale.Id, body, "first"));
        await Eventually.GetAsync("the order is stored", Patience, () => shopper.OrderAsync(bought.OrderId), answer => answer.Member("status") == "pending_payment");
        Assert.Equal(200, (await shopper.MyOrdersAsync()).Status);
        Assert.Equal("cancelled", (await shopper.CancelAsync(bought.OrderId)).Member("status"));
        Assert.Equal(204, (await UnblockAsync("user", "bought-before")).Status);
        await EveryNodeAsync(blocks: false, "bought-before");
        var replay = await shopper.PurchaseAsync(Sale.Id, body, "first");
        Assert.Equal((202, true), (replay.Status, replay.IsReplay));
        Assert.Equal(bought.Body, replay.Body);
    }
}
