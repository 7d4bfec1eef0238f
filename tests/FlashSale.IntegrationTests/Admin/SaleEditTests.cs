using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>Managers edit a sale without losing each other's work, and can correct its hours.</summary>
[Collection<OnOneOfEach>]
public sealed class SaleEditTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private static readonly ItemDraft[] Phones = [new("phone-1", 10)];

    private Manager Manager => Stack.Manager;

    [Fact]
    public async Task Of_two_managers_who_edit_one_draft_the_later_is_told_instead_of_undoing_the_other()
    {
        var id = await Manager.CreateSaleAsync(Phones);
        var seen = (await Manager.GetAsync($"/api/v1/sales/{id}")).Header("etag")!;
        Manager.Expect(200, await ImportAsync(id, "phone-2", seen));
        Refusal.AssertIs(412, "precondition_failed", await ReplaceAsync(id, seen));
        Refusal.AssertIs(412, "precondition_failed", await ImportAsync(id, "phone-3", seen));
        Refusal.AssertIs(412, "precondition_failed", await Manager.SendAsync(HttpMethod.Delete, $"/api/v1/sales/{id}", null, ("If-Match", seen)));
        Assert.Equal(2, (await Manager.GetAsync($"/api/v1/sales/{id}")).Json.GetProperty("items").GetArrayLength());

        var now = (await Manager.GetAsync($"/api/v1/sales/{id}")).Header("etag")!;
        var replaced = Manager.Expect(200, await ReplaceAsync(id, $"{seen}, W/{now}"));
        Assert.NotEqual(now, replaced.Header("etag"));
        Assert.Equal(replaced.Header("etag"), (await Manager.GetAsync($"/api/v1/sales/{id}")).Header("etag"));
        Manager.Expect(200, await ReplaceAsync(id, "*"));
        foreach (var tag in (string[])["yesterday", "\"1", "1"]) Refusal.AssertIs(400, "invalid_request", await ReplaceAsync(id, tag));
        Refusal.AssertIs(412, "precondition_failed", await ReplaceAsync(id, "\"of something else\""));
    }

    [Fact]
    public async Task A_sale_that_a_client_has_already_is_not_sent_again_and_its_head_tells_the_same()
    {
        var id = await Manager.CreateSaleAsync(Phones);
        var path = $"/api/v1/sales/{id}";
        var page = await Manager.GetAsync(path);
        var head = await Manager.SendAsync(HttpMethod.Head, path);
        Assert.Equal((200, page.Header("etag"), 0), (head.Status, head.Header("etag"), head.Body.Length));
        Assert.Equal(304, (await Manager.SendAsync(HttpMethod.Get, path, null, ("If-None-Match", $"\"x\", {page.Header("etag")}"))).Status);
        // The clock decides the status, so a scheduled sale that has opened is another page under the same version.
        await Manager.PreloadAsync(id);
        var scheduled = (await Manager.GetAsync(path)).Header("etag")!;
        await Manager.OpenAsync(id);
        Assert.Equal(200, (await Manager.SendAsync(HttpMethod.Get, path, null, ("If-None-Match", scheduled))).Status);
        foreach (var other in (string[])["/api/v1/sales", "/api/v1/audit", $"{path}/stats", "/api/v1/ops/limits", "/openapi/v1.json", $"{path}/orders.csv"])
        {
            var answer = await Manager.SendAsync(HttpMethod.Head, other);
            Assert.Equal((200, 0), (answer.Status, answer.Body.Length));
        }
        Assert.Equal(404, (await Manager.SendAsync(HttpMethod.Head, "/api/v1/sales/s0")).Status);
        Assert.Equal(405, (await Manager.SendAsync(HttpMethod.Head, $"{path}/open")).Status);
    }

    [Fact]
    public async Task A_draft_can_be_deleted_and_a_loaded_sale_cannot()
    {
        var id = await Manager.CreateSaleAsync(Phones);
        Assert.Equal(204, (await Manager.SendAsync(HttpMethod.Delete, $"/api/v1/sales/{id}")).Status);
        Refusal.AssertIs(404, "sale_not_found", await Manager.GetAsync($"/api/v1/sales/{id}"));
        Refusal.AssertIs(404, "sale_not_found", await Manager.SendAsync(HttpMethod.Delete, $"/api/v1/sales/{id}"));
        var entry = (await Manager.GetAsync("/api/v1/audit?limit=1")).Json.GetProperty("entries")[0];
        Assert.Equal(("sale.delete", id), (entry.GetProperty("action").GetString(), entry.GetProperty("subject").GetString()));

        var loaded = await Manager.CreateSaleAsync(Phones);
        await Manager.PreloadAsync(loaded);
        Refusal.AssertIs(409, "sale_state_conflict", await Manager.SendAsync(HttpMethod.Delete, $"/api/v1/sales/{loaded}"));
    }

    [Fact]
    public async Task A_sale_whose_end_is_past_is_not_preloaded_and_stays_a_draft()
    {
        var id = await Manager.CreateSaleAsync(Phones, opensIn: TimeSpan.FromDays(-365), closesIn: TimeSpan.FromDays(-364));
        Assert.Contains("closesAt", Refusal.AssertIs(409, "sale_state_conflict", await Manager.PostAsync($"/api/v1/sales/{id}/preload")).Text);
        Manager.Expect(200, await ReplaceAsync(id, "*"));
        await Manager.PreloadAsync(id);
    }

    [Fact]
    public async Task The_end_of_an_open_sale_moves_and_its_beginning_does_not()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var closesAt = TimeProvider.System.GetUtcNow().AddHours(7).UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'");
        Assert.Equal(closesAt, Manager.Expect(200, await MoveAsync(sale.Id, new { closesAt })).Member("closesAt"));
        await Eventually.GetAsync("shoppers see it", TimeSpan.FromSeconds(10), () => Stack.Shopper("buyer").GetAsync($"/api/v1/sales/{sale.Id}"),
            page => page.Status == 200 && page.Member("closesAt") == closesAt);
        Refusal.AssertIs(409, "sale_state_conflict", await MoveAsync(sale.Id, new { opensAt = closesAt }));
        foreach (var wrong in (object[])[new { }, new { closesAt = "2020-01-01T00:00:00Z" }, new { closesAt = "tomorrow" }, new { closesAt, x = 1 }])
            Refusal.AssertIs(400, "invalid_request", await MoveAsync(sale.Id, wrong));
        Refusal.AssertIs(404, "sale_not_found", await MoveAsync("s0", new { closesAt }));
        var entry = (await Manager.GetAsync("/api/v1/audit?limit=1")).Json.GetProperty("entries")[0];
        Assert.Equal(("sale.window", "open"), (entry.GetProperty("action").GetString(), entry.GetProperty("before").GetProperty("status").GetString()));
        await Manager.CloseAsync(sale.Id);
        Refusal.AssertIs(409, "sale_state_conflict", await MoveAsync(sale.Id, new { closesAt }));
    }

    [Fact]
    public async Task A_scheduled_sale_opens_at_its_new_hour_and_one_that_its_hour_has_ended_sells_on_under_a_later_one()
    {
        var id = await Manager.CreateSaleAsync(Phones, opensIn: TimeSpan.FromHours(1), closesIn: TimeSpan.FromHours(2));
        Refusal.AssertIs(409, "sale_state_conflict", await MoveAsync(id, new { closesAt = "2031-01-01T00:00:00Z" }));
        await Manager.PreloadAsync(id);
        var opensAt = TimeProvider.System.GetUtcNow().AddSeconds(10);
        Manager.Expect(200, await MoveAsync(id, new { opensAt, closesAt = opensAt.AddSeconds(1) }));
        await Eventually.GetAsync("it has closed", TimeSpan.FromSeconds(60), () => Manager.GetAsync($"/api/v1/sales/{id}"), page => page.Member("status") == "closed");
        Manager.Expect(200, await MoveAsync(id, new { closesAt = "2031-01-01T00:00:00Z" }));
        await Stack.StatusOnEveryNodeAsync(id, "open");
        Assert.Equal(202, (await Stack.Shopper("late").BuyAsync(new Sale(id, Phones))).Status);
    }

    [Fact]
    public async Task Closing_waits_for_no_count_of_orders()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        // While nobody may read the orders, no count of them ends.
        await using (await TableLock.OfAsync(Stack.Database, "user_quota"))
        {
            Manager.Expect(200, await Manager.PostAsync($"/api/v1/sales/{sale.Id}/close"));
        }
    }

    [Fact]
    public async Task An_operator_finds_an_ended_sale_that_a_restore_holds_and_rebuilds_it()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Crowd.AllBuyAsync(Stack, sale, users: 3);
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(30));
        await Manager.CloseAsync(sale.Id);
        // The watch of a restored Postgres sets the flag in the same way.
        await ExecuteAsync("update sale set rebuild_required = true where sale_id = @id", new { id = sale.Id });
        Assert.Equal(("closed", "restore"), await StateAsync(sale.Id));
        using var manager = new Manager(() => Stack.Admin.Url, Manager.ManagerToken);
        Refusal.AssertIs(403, "forbidden", await manager.PostAsync($"/api/v1/sales/{sale.Id}/rebuild"));
        await Manager.RebuildAsync(sale.Id);
        Assert.Equal(("closed", ""), await StateAsync(sale.Id));
        await Books.CheckAsync(Stack, sale);
        Refusal.AssertIs(409, "sale_closed", await Stack.Shopper("late").BuyAsync(sale));
        // Without a restore a sale is rebuilt only while it is paused.
        Refusal.AssertIs(409, "sale_state_conflict", await Manager.PostAsync($"/api/v1/sales/{sale.Id}/rebuild"));
    }

    [Fact]
    public async Task Only_an_operator_loads_a_loaded_sale_again_and_a_person_sees_why_a_sale_stands_still()
    {
        using var manager = new Manager(() => Stack.Admin.Url, Manager.ManagerToken);
        var id = await manager.CreateSaleAsync(Phones);
        await manager.PreloadAsync(id);
        await manager.PauseAsync(id);
        Assert.Equal("manager", (await manager.GetAsync($"/api/v1/sales/{id}")).Member("pausedBy"));
        Assert.Contains("operator", Refusal.AssertIs(403, "forbidden", await manager.PostAsync($"/api/v1/sales/{id}/preload")).Text);
        // The watch of a restored Postgres sets the flag in the same way.
        await ExecuteAsync("update sale set rebuild_required = true where sale_id = @id", new { id });
        Assert.Equal("restore", (await manager.GetAsync($"/api/v1/sales/{id}")).Member("pausedBy"));
        Assert.Contains("restored", Refusal.AssertIs(403, "forbidden", await manager.PostAsync($"/api/v1/sales/{id}/preload")).Text);
        Refusal.AssertIs(409, "sale_state_conflict", await manager.PostAsync($"/api/v1/sales/{id}/resume"));
        await Manager.RebuildAsync(id);
        await manager.ResumeAsync(id);
        var actions = (await Manager.GetAsync("/api/v1/audit?limit=1")).Json.GetProperty("entries")[0];
        Assert.Equal(("sale.resume", "paused", "scheduled"), (actions.GetProperty("action").GetString(),
            actions.GetProperty("before").GetProperty("status").GetString(), actions.GetProperty("after").GetProperty("status").GetString()));
    }

    private async Task<(string? Status, string? PausedBy)> StateAsync(string id)
    {
        var page = await Manager.GetAsync($"/api/v1/sales/{id}");
        return (page.Member("status"), page.Member("pausedBy"));
    }

    private Task<Answer> MoveAsync(string id, object window) => Manager.PostAsync($"/api/v1/sales/{id}/window", window);

    private async Task<Answer> ReplaceAsync(string id, string ifMatch)
    {
        using var content = new StringContent("""
            {"name":"Replaced","opensAt":"2031-11-11T00:00:00Z","closesAt":"2031-11-12T00:00:00Z",
             "items":[{"sku":"phone-9","name":"Nine","price":{"amount":1,"currency":"CNY"},"stock":1}]}
            """, null, "application/json");
        return await Manager.SendAsync(HttpMethod.Put, $"/api/v1/sales/{id}", content, ("If-Match", ifMatch));
    }

    private async Task<Answer> ImportAsync(string id, string sku, string ifMatch)
    {
        using var content = new StringContent($"sku,name,price,listPrice,currency,stock,perUserLimit\n{sku},A,1,,CNY,1,", null, "text/csv");
        return await Manager.SendAsync(HttpMethod.Post, $"/api/v1/sales/{id}/items:import", content, ("If-Match", ifMatch));
    }
}
