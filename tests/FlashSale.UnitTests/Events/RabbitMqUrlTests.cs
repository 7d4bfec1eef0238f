using FlashSale.Platform;
using FlashSale.Worker;

namespace FlashSale.UnitTests.Events;

/// <summary>
/// An AMQP URI is honoured to its last parameter, or refused with the name of the part that cannot be honoured.
/// </summary>
public sealed class RabbitMqUrlTests
{
    [Theory]
    [InlineData("amqp://u:p@h:5672/shop")]
    [InlineData("amqp://h")]
    [InlineData("amqp://h/")]
    [InlineData("amqp://u:p%2F@h/%2F")]
    [InlineData("amqps://u:p@[::1]/shop")]
    [InlineData("amqps://u:p@a,b:5673,c:5671/shop?heartbeat=5&connection_timeout=3000&verify=verify_peer")]
    public void An_AMQP_URI_is_taken(string url) => RabbitMqUrl.Read(url);

    [Theory]
    [InlineData("")]
    [InlineData("http://h/")]
    [InlineData("h:5672")]
    [InlineData("amqp://u:p@/shop")]
    public void Anything_else_is_refused(string url) => Assert.Equal("RabbitMq:Url = (hidden): must be amqp://user:password@host:port/vhost.", Refusal(url));

    [Theory]
    [InlineData("amqp://h/?nosuch=1", "'nosuch'", "heartbeat")]
    [InlineData("amqp://h/?heartbeat=0", "'heartbeat=0'", "1 to 600")]
    [InlineData("amqp://h/?connection_timeout=soon", "'connection_timeout=soon'", "100 to 60000")]
    [InlineData("amqp://h/?cacertfile=/etc/hostname", "'cacertfile'", "amqps://")]
    [InlineData("amqps://h/?verify=verify_none", "'verify=verify_none'", "verify_peer")]
    [InlineData("amqps://h/?cacertfile=/nowhere/ca.crt", "'cacertfile=/nowhere/ca.crt'")]
    [InlineData("amqps://h/?cacertfile=/etc/hostname", "'cacertfile=/etc/hostname'", "no certificate")]
    [InlineData("amqp://h:5671/", "amqps://")]
    [InlineData("amqp://a,[::1]/", "IPv6")]
    public void A_part_that_cannot_be_honoured_is_refused_by_name(string url, params string[] told) =>
        Assert.All(told, part => Assert.Contains(part, Refusal(url), StringComparison.Ordinal));

    [Fact]
    public void A_password_that_is_not_encoded_is_not_shown() => Assert.DoesNotContain("hush", Refusal("amqp://u:hush/hush?hush@h/"), StringComparison.Ordinal);

    private static string Refusal(string url) => Assert.Throws<InvalidSettingException>(() => RabbitMqUrl.Read(url)).Message;
}
