using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Targets;

/// <summary>An item to sell in a load run.</summary>
/// <param name="Stock">Units on sale.</param>
/// <param name="PerUserLimit">Units that one shopper may have.</param>
/// <param name="Price">Price in minor units of CNY.</param>
public sealed record LoadItem(string Sku, int Stock, int PerUserLimit = 1, long Price = 9_900);

/// <summary>
/// A sale of a load run. It is created, loaded and opened through the Admin API, and closed at the end. It is marked as
/// a load run, so it counts in no business figure and nobody downstream gets its orders.
/// </summary>
public sealed class LoadSale : IDisposable
{
    // The body of a request to the Admin API may have at most 1 MB.
    private const int MostItemsInBody = 1_000;

    private readonly Target _target;
    private readonly Manager _manager;
    private bool _isOpen;

    private LoadSale(Target target, Manager manager, string id, IReadOnlyList<LoadItem> items, int? perUserLimit)
    {
        _target = target;
        _manager = manager;
        Id = id;
        Items = items;
        PerUserLimit = perUserLimit;
    }

    public string Id { get; }

    public IReadOnlyList<LoadItem> Items { get; }

    /// <summary>Units that one shopper may have of the whole sale. Null: no such limit.</summary>
    public int? PerUserLimit { get; }

    /// <summary>Path of a purchase.</summary>
    public string OrdersPath => $"/api/v1/sales/{Id}/orders";

    /// <summary>Units on sale, all items together.</summary>
    public long Stock => Items.Sum(item => (long)item.Stock);

    /// <summary>Creates, loads and opens a sale, and waits until the Api sells it.</summary>
    /// <param name="target">The product under load.</param>
    /// <param name="name">Name of the sale in the managers' list.</param>
    /// <param name="items">1 or more, each sku once.</param>
    /// <param name="perUserLimit">Limit of the whole sale. Null: no such limit.</param>
    /// <param name="payWithinSeconds">How long an order may stay unpaid.</param>
    /// <param name="cancel">Ends the wait.</param>
    public static async Task<LoadSale> OpenAsync(Target target, string name, IReadOnlyList<LoadItem> items, int? perUserLimit = null, int payWithinSeconds = 86_400, CancellationToken cancel = default)
    {
        var manager = new Manager(target);
        LoadSale? sale = null;
        try
        {
            sale = new LoadSale(target, manager, await CreateAsync(manager, name, items, perUserLimit, payWithinSeconds, cancel), items, perUserLimit);
            await sale.PostAsync("preload", cancel);
            await LogRewrittenAsync(target, cancel);
            await sale.PostAsync("open", cancel);
            sale._isOpen = true;
            await sale.OpenAtAsync(target.Api, cancel);
            return sale;
        }
        catch
        {
            // The caller never gets this sale, so it must be closed here.
            if (sale is { _isOpen: true }) await sale.CloseAsync(CancellationToken.None);
            manager.Dispose();
            throw;
        }
    }

    /// <summary>Waits until a node shows the sale as open.</summary>
    /// <exception cref="TimeoutException">The node does not show it as open within 30 s.</exception>
    public async Task OpenAtAsync(Uri api, CancellationToken cancel)
    {
        using var http = new HttpClient { BaseAddress = api, Timeout = TimeSpan.FromSeconds(5) };
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        deadline.CancelAfter(TimeSpan.FromSeconds(30));
        try
        {
            while (await StatusAsync(http, deadline.Token) != "open") await Task.Delay(50, deadline.Token);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new TimeoutException($"{api} does not show sale {Id} as open within 30 s.", e);
        }
    }

    /// <summary>Returns the product's own ledger of the sale.</summary>
    public Task<JsonElement> LedgerAsync(CancellationToken cancel) => _manager.GetAsync($"/api/v1/sales/{Id}/ledger", cancel);

    /// <summary>Closes the sale, unless it is closed.</summary>
    public async Task CloseAsync(CancellationToken cancel = default)
    {
        if (!_isOpen) return;
        await PostAsync("close", cancel);
        _isOpen = false;
    }

    public void Dispose() => _manager.Dispose();

    private Task<JsonElement> PostAsync(string verb, CancellationToken cancel) => _manager.PostAsync($"/api/v1/sales/{Id}/{verb}", null, cancel);

    private static async Task<string> CreateAsync(Manager manager, string name, IReadOnlyList<LoadItem> items, int? perUserLimit, int payWithinSeconds, CancellationToken cancel)
    {
        var now = TimeProvider.System.GetUtcNow();
        var created = await manager.PostAsync("/api/v1/sales", new
        {
            name,
            opensAt = Time(now.AddHours(1)),
            closesAt = Time(now.AddDays(1)),
            perUserLimit,
            payWithinSeconds,
            loadRun = true,
            items = items.Take(MostItemsInBody).Select(item => new
            {
                sku = item.Sku,
                name = $"Load item {item.Sku}",
                price = new { amount = item.Price, currency = "CNY" },
                stock = item.Stock,
                perUserLimit = item.PerUserLimit,
            }),
        }, cancel);
        var id = created.GetProperty("saleId").GetString()!;
        if (items.Count > MostItemsInBody) await manager.PostCsvAsync($"/api/v1/sales/{id}/items:import", Csv(items.Skip(MostItemsInBody)), cancel);
        return id;
    }

    // Loading a sale makes Redis rewrite its log beside all its other work. A real sale is loaded hours before it
    // opens, not seconds. So this waits until the log is rewritten.
    private static async Task LogRewrittenAsync(Target target, CancellationToken cancel)
    {
        await using var redis = new RedisClient(target.Redis, target.RedisPassword);
        while ((await redis.TextAsync("INFO", "persistence"))!.Contains("aof_rewrite_in_progress:1", StringComparison.Ordinal)) await Task.Delay(50, cancel);
    }

    private static string Csv(IEnumerable<LoadItem> items)
    {
        var csv = new StringBuilder("sku,name,price,listPrice,currency,stock,perUserLimit\n");
        foreach (var item in items) csv.Append(CultureInfo.InvariantCulture, $"{item.Sku},Load item {item.Sku},{item.Price},,CNY,{item.Stock},{item.PerUserLimit}\n");
        return csv.ToString();
    }

    private async Task<string?> StatusAsync(HttpClient http, CancellationToken cancel)
    {
        try
        {
            using var response = await http.GetAsync($"/api/v1/sales/{Id}", cancel);
            return response.IsSuccessStatusCode ? (await response.Content.ReadFromJsonAsync<JsonElement>(cancel)).GetProperty("status").GetString() : null;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancel.IsCancellationRequested)
        {
            return null;
        }
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
}
