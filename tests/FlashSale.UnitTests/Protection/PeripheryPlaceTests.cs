using FlashSale.Admission;
using FlashSale.Api.Protection;
using FlashSale.UnitTests.Admission;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace FlashSale.UnitTests.Protection;

/// <summary>Tests how long a read keeps its place among the reads under way.</summary>
public sealed class PeripheryPlaceTests
{
    private readonly LoadShedder _shedder = new(new SheddingOptions { MaxPeriphery = 1 });

    [Fact]
    public async Task A_read_gives_its_place_back_when_its_answer_begins_however_long_that_takes_to_be_read()
    {
        var response = new StartableResponse();
        await GuardAsync(response, async _ =>
        {
            Assert.False(_shedder.TryEnterPeriphery());
            await response.StartAsync();
            AssertOnePlaceIsFree();
        });
        AssertOnePlaceIsFree();
    }

    [Fact]
    public async Task A_read_that_gives_its_place_back_while_it_waits_gives_it_back_once()
    {
        var response = new StartableResponse();
        await GuardAsync(response, async context =>
        {
            context.Features.Get<PeripheryPlace>()!.Leave();
            AssertOnePlaceIsFree();
            await response.StartAsync();
        });
        AssertOnePlaceIsFree();
    }

    private void AssertOnePlaceIsFree()
    {
        Assert.True(_shedder.TryEnterPeriphery());
        Assert.False(_shedder.TryEnterPeriphery());
        _shedder.LeavePeriphery();
    }

    private Task GuardAsync(StartableResponse response, RequestDelegate next)
    {
        var context = new DefaultHttpContext();
        context.Features.Set<IHttpResponseFeature>(response);
        context.Request.Method = "GET";
        context.Request.Path = "/api/v1/sales/s1";
        var guard = new RequestGuard(new Degradation(new DegradationOptions(), () => 0), _shedder, new RequestLimiter(new LimitDocument([], [], [], []), null!), JwtForge.Verifier());
        return guard.InvokeAsync(context, next);
    }

    private sealed class StartableResponse : HttpResponseFeature
    {
        private readonly List<(Func<object, Task> Callback, object State)> _starting = [];

        public override void OnStarting(Func<object, Task> callback, object state) => _starting.Add((callback, state));

        public Task StartAsync() => Task.WhenAll(_starting.Select(starting => starting.Callback(starting.State)));
    }
}
