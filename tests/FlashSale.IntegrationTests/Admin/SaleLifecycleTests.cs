using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>Managers lead a sale from its draft to its end.</summary>
[Collection<OnOneOfEach>]
public sealed class SaleLifecycleTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private static readonly ItemDraft[] Phones = [new("phone-1", 10)];

    private Manager Manager => Stack.Manager;

    [Fact]
    public async Task A_sale_is_a_draft_then_scheduled_then_open_paused_open_again_and_closed()
    {
        var id = await Manager.CreateSaleAsync(Phones);
        Assert.Equal("draft", await StatusAsync(id));
        await Manager.PreloadAsync(id);
        Assert.Equal("scheduled", await StatusAsync(id));
        Assert.Equal("open", (await Manager.OpenAsync(id)).Member("status"));
        Assert.Equal("paused", (await Manager.PauseAsync(id)).Member("status"));
        Assert.Equal("open", (await Manager.ResumeAsync(id)).Member("status"));
        Assert.Equal("closed", (await Manager.CloseAsync(id)).Member("status"));
        await Stack.StatusOnEveryNodeAsync(id, "closed");
    }

    [Fact]
    public async Task A_preloaded_sale_opens_by_itself_and_closes_by_itself()
    {
        var id = await Manager.CreateSaleAsync(Phones, opensIn: TimeSpan.FromSeconds(1), closesIn: TimeSpan.FromSeconds(3));
        await Manager.PreloadAsync(id);
        foreach (var status in (string[])["open", "closed"])
            await Eventually.GetAsync($"it is {status}", TimeSpan.FromSeconds(5), () => StatusAsync(id), now => now == status);
        foreach (var action in (string[])["open", "pause", "resume"]) await AssertConflictAsync(id, action);
        await Manager.CloseAsync(id);
    }

    [Theory]
    [InlineData("draft", "open pause resume close rebuild")]
    [InlineData("scheduled", "resume preload rebuild")]
    [InlineData("open", "open resume preload rebuild")]
    [InlineData("paused", "open pause")]
    [InlineData("closed", "open pause resume close preload rebuild")]
    public async Task What_a_sale_in_the_wrong_state_is_asked_for_is_a_conflict_and_changes_nothing(string status, string actions)
    {
        var id = await InStatusAsync(status);
        var before = await Manager.GetAsync($"/api/v1/sales/{id}");
        foreach (var action in actions.Split(' ')) await AssertConflictAsync(id, action);
        if (status != "draft") Refusal.AssertIs(409, "sale_state_conflict", await ReplaceAsync(id, Phones));
        Assert.Equal(before.Text, (await Manager.GetAsync($"/api/v1/sales/{id}")).Text);
    }

    [Theory]
    [InlineData("draft", "preload")]
    [InlineData("scheduled", "open")]
    [InlineData("open", "pause")]
    [InlineData("paused", "resume")]
    [InlineData("open", "close")]
    public async Task Of_many_who_do_the_same_at_once_one_succeeds_and_it_is_recorded_once(string status, string action)
    {
        var id = await InStatusAsync(status);
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Manager.PostAsync($"/api/v1/sales/{id}/{action}")));
        Assert.Single(answers, answer => answer.Status == 200);
        Assert.All(answers.Where(answer => answer.Status != 200), answer => Refusal.AssertIs(409, "sale_state_conflict", answer));
        var entries = (await Manager.GetAsync("/api/v1/audit?limit=100")).Json.GetProperty("entries").EnumerateArray();
        Assert.Single(entries, entry => entry.GetProperty("subject").GetString() == id && entry.GetProperty("action").GetString() == $"sale.{action}");
    }

    [Fact]
    public async Task What_a_draft_says_of_tickets_is_shown_recorded_and_replaced()
    {
        var id = await Manager.CreateSaleAsync(Phones, requiresTicket: true, admissionPerSecond: 250);
        var page = (await Manager.GetAsync($"/api/v1/sales/{id}")).Json;
        Assert.Equal((true, 250), (page.GetProperty("requiresTicket").GetBoolean(), page.GetProperty("admissionPerSecond").GetInt32()));
        var listed = (await Manager.GetAsync("/api/v1/sales?limit=1")).Json.GetProperty("sales")[0];
        Assert.Equal((id, 250), (listed.GetProperty("saleId").GetString(), listed.GetProperty("admissionPerSecond").GetInt32()));
        await ReplaceAsync(id, Phones);
        page = (await Manager.GetAsync($"/api/v1/sales/{id}")).Json;
        Assert.Equal((false, System.Text.Json.JsonValueKind.Null), (page.GetProperty("requiresTicket").GetBoolean(), page.GetProperty("admissionPerSecond").ValueKind));
        var entry = (await Manager.GetAsync("/api/v1/audit?limit=1")).Json.GetProperty("entries")[0];
        Assert.Equal((250, false), (entry.GetProperty("before").GetProperty("admissionPerSecond").GetInt32(), entry.GetProperty("after").GetProperty("requiresTicket").GetBoolean()));
    }

    [Fact]
    public async Task A_draft_is_replaced_as_a_whole()
    {
        var id = await Manager.CreateSaleAsync([new("phone-1", 10), new("phone-2", 10)]);
        var replaced = Manager.Expect(200, await ReplaceAsync(id, [new("phone-2", 5, PerUserLimit: 3), new("case-1", 7)]));
        Assert.Equal("Replaced", replaced.Member("name"));
        Assert.Equal(["phone-2", "case-1"], replaced.Json.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("sku").GetString()));
        Assert.Equal(replaced.Text, (await Manager.GetAsync($"/api/v1/sales/{id}")).Text);
        Assert.Equal((2, 12), (await Manager.PreloadAsync(id)).Json is var loaded ? (loaded.GetProperty("items").GetInt32(), loaded.GetProperty("units").GetInt32()) : default);
    }

    [Fact]
    public async Task A_sale_without_items_is_not_preloaded()
    {
        var id = await Manager.CreateSaleAsync([]);
        Assert.Contains("no items", (await AssertConflictAsync(id, "preload")).Text);
        Assert.Equal("draft", await StatusAsync(id));
    }

    [Fact]
    public async Task Sales_are_listed_newest_first_page_by_page()
    {
        var ids = new List<string>();
        for (var i = 0; i < 5; i++) ids.Add(await Manager.CreateSaleAsync(Phones));
        var seen = new List<string>();
        string? cursor = null;
        do
        {
            var page = Manager.Expect(200, await Manager.GetAsync($"/api/v1/sales?limit=2{(cursor is null ? "" : $"&cursor={cursor}")}"));
            seen.AddRange(page.Json.GetProperty("sales").EnumerateArray().Select(sale => sale.GetProperty("saleId").GetString()!));
            cursor = page.Json.GetProperty("nextCursor").GetString();
        }
        while (cursor is not null && seen.Count < 6);
        ids.Reverse();
        Assert.Equal(ids, seen.Take(5));
        foreach (var query in (string[])["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "limit=", "cursor=", "cursor=!!", "cursor=eA"])
            Refusal.AssertIs(400, "invalid_request", await Manager.GetAsync($"/api/v1/sales?{query}"));
    }

    private async Task<string> InStatusAsync(string status)
    {
        var id = await Manager.CreateSaleAsync(Phones);
        if (status == "draft") return id;
        await Manager.PreloadAsync(id);
        if (status == "scheduled") return id;
        await Manager.OpenAsync(id);
        if (status == "paused") await Manager.PauseAsync(id);
        if (status == "closed") await Manager.CloseAsync(id);
        return id;
    }

    private async Task<string?> StatusAsync(string id) => Manager.Expect(200, await Manager.GetAsync($"/api/v1/sales/{id}")).Member("status");

    private async Task<Answer> AssertConflictAsync(string id, string action) =>
        Refusal.AssertIs(409, "sale_state_conflict", await Manager.PostAsync($"/api/v1/sales/{id}/{action}"));

    private Task<Answer> ReplaceAsync(string id, ItemDraft[] items) => Manager.SendAsync(HttpMethod.Put, $"/api/v1/sales/{id}", new
    {
        name = "Replaced",
        opensAt = "2031-11-11T00:00:00Z",
        closesAt = "2031-11-12T00:00:00+08:00",
        items = items.Select(item => new { sku = item.Sku, name = "Item", price = new { amount = 1, currency = "CNY" }, stock = item.Stock, perUserLimit = item.PerUserLimit }),
    });
}
